"""The columns of a tape are what the tape plays: merged recordings, holes and all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recordings.columns.column_batch import Kind
from recordings.importing.importer import ImportOptions, import_capture
from recordings.recording import Recording
from replay.column_tape import ColumnTape
from replay.tape import Tape
from tests.column_checks import check_tape, check_whole, played
from tests.golden.expectations import RECORDINGS
from tests.replay.tapes_of_trades import MS, make
from toolkit.errors import RecordingDamaged
from toolkit.messages import Trade

offsets = st.lists(st.integers(0, 12).map(lambda n: n * MS), min_size=1, max_size=6)


@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(st.lists(offsets, min_size=2, max_size=3), st.lists(st.sampled_from([0, 40, 90]), min_size=3, max_size=3))
def test_the_order_of_columns_is_that_of_the_tape(
    tmp_path_factory: Any, tapes: list[list[int]], apart: list[int]
) -> None:
    """Clocks step back, recordings overlap or leave holes, in which books are stale; any number of rows at a time."""
    folder = tmp_path_factory.mktemp("columns")
    recordings = [
        make(folder / str(number), [apart[number] * MS + stamp for stamp in stamps], first_id=1000 * (number + 1))
        for number, stamps in enumerate(tapes)
    ]
    tape = Tape(recordings)
    for options in ({}, {"batch_rows": 1, "ahead": False}, {"batch_rows": 5}):
        assert check_tape(tape, **options) > 0


def test_several_venues_with_a_hole_are_merged(tmp_path: Path) -> None:
    """Golden recordings of all venues, which are of different times, and one after a hole."""
    recordings = [Recording.open(folder) for folder in RECORDINGS]
    later = make(tmp_path / "later", [10_000 * MS, 10_001 * MS])
    assert check_tape(Tape([*recordings, later])) > 1000
    assert check_tape(Tape([*recordings, later], channels=["book", "trades"])) > 500


def test_columns_read_as_a_whole_make_every_message(tmp_path: Path) -> None:
    """Whatever the kind, and however many rows are read at a time."""
    for folder in RECORDINGS:
        assert check_whole(Tape([Recording.open(folder)])) > 0
    recordings = [make(tmp_path / name, [n * MS for n in stamps]) for name, stamps in (("a", (0, 1, 5)), ("b", (2, 3)))]
    assert check_whole(Tape(recordings), batch_rows=2, ahead=False) > 0


def test_of_some_tables_every_message_is_made_and_of_others_none(tmp_path: Path) -> None:
    """Alone and among several recordings; what is read in part has the same columns."""
    taken = [make(tmp_path / name, times) for name, times in (("one", [0, MS]), ("two", [9 * MS, 10 * MS]))]
    for tape in (Tape(taken[:1]), Tape(taken)):
        assert check_tape(tape, whole=("trades",)) > 0
        wanted = [message for message in played(tape) if isinstance(message, Trade)]
        found = []
        for batch in ColumnTape(tape, whole=("trades",)).batches():
            places = np.flatnonzero(batch.rows["kind"] == Kind.TRADE)
            found += batch.messages_at(places)
            for place in np.flatnonzero(batch.rows["kind"] <= Kind.QUOTE).tolist():
                with pytest.raises(IndexError, match="no message is kept"):
                    batch.message(place)
        assert found == wanted
        assert wanted


def test_pairs_of_the_tape_have_the_first_places(tmp_path: Path) -> None:
    recording = make(tmp_path / "tape", [0, MS])
    assert ColumnTape(Tape([recording])).names.pairs == [tuple(key) for key in recording.keys]
    tape = Tape([recording], trading_pairs=["ETH-USD"])
    assert check_tape(tape) > 0
    assert [pair for _, pair in ColumnTape(tape).names.pairs] == ["ETH-USD"]


def test_whoever_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    tape = Tape([make(tmp_path / "tape", [n * MS for n in range(50)])])
    batches = ColumnTape(tape, batch_rows=1).batches()
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("columns")]


def test_what_goes_wrong_in_the_thread_is_raised_where_columns_are_taken(tmp_path: Path) -> None:
    recording = make(tmp_path / "tape", [0, MS])
    for path in recording.files("book"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecordingDamaged):
        list(ColumnTape(Tape([Recording.open(tmp_path / "tape")])).batches())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "venue", "line_format"),
    [
        ("binance/usdm_btcusdt_20240808.gz", "binance-usdm", "collector"),
        ("binance/coinm_btcusd_perp_20240808.gz", "binance-coinm", "collector"),
        ("hyperliquid/archive_20240101_12_l2Book_BTC.lz4", "hyperliquid", "archive"),
        ("hyperliquid/ws_btc_20250126.gz", "hyperliquid", "collector"),
    ],
)
def test_columns_of_a_capture_are_its_messages(
    tmp_path: Path, shared_data: Path, path: str, venue: str, line_format: Any
) -> None:
    import_capture([shared_data / path], tmp_path / "tape", ImportOptions(venue=venue, line_format=line_format))
    assert check_tape(Tape([Recording.open(tmp_path / "tape")])) > 0


def test_places_do_not_depend_on_which_table_was_decoded_first() -> None:
    """Pairs and forms are numbered as messages are taken, whatever threads do meanwhile."""
    for folder in RECORDINGS:
        tape = Tape([Recording.open(folder)])
        named = []
        for ahead in (False, True, True):
            columns = ColumnTape(tape, ahead=ahead, batch_rows=50)
            rows = [batch.rows[["pair", "form"]].tolist() for batch in columns.batches()]
            named.append((columns.names.pairs, columns.names.forms, rows))
        assert named[0] == named[1] == named[2]
