"""A cut of `make flips`: bits flip, and nothing that reads answers from them without a word."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.flips.readers import OPEN_READERS, READERS, WRITERS, Reader
from tests.flips.tapes import files_of, make, make_open
from tests.flips.trial import kind_of, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("flips")
    make_open(place / "open", make(place / "tape", place / "session"))
    before = logging.root.manager.disable
    logging.disable()  # a seek says which state it passes over
    yield place
    logging.disable(before)


def test_the_recording_has_every_kind_of_file(work: Path) -> None:
    kinds = {kind_of(work / "tape", path) for path in files_of(work / "tape")}
    assert {"recording", "raw", "book", "bbo", "trades", "events", "top", "fills", "state", "points"} <= kinds
    assert kind_of(work / "open", work / "open" / "journal" / "000001.arrows") == "journal"
    assert sum(path.stat().st_size for path in files_of(work / "tape")) < 1_000_000


@pytest.mark.parametrize(
    ("tape", "readers", "count"),
    [("tape", READERS, 100), ("tape", WRITERS, 12), ("open", OPEN_READERS, 30)],
    ids=["reads", "writes", "crash"],
)
def test_nothing_answers_from_a_flipped_bit_without_a_word(
    work: Path, tape: str, readers: Mapping[str, Reader], count: int
) -> None:
    tally = run(work / tape, readers, count, "cut", must_be_seen=tape == "tape")
    assert tally.is_clean, tally.table()
    assert sum(tally.said.values()) > 0
