"""A journal is sealed without compiled code as long as loading that takes longer, and with it where it was loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from recordings.journal.journal_reader import journal_path
from recordings.sealing import journal_sealing
from recordings.states.normalizer import Normalizer
from tests.hand_recorder import HandRecorder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each time that a normalizer was asked to load its compiled code."""
    found: list[int] = []

    def compile_none(normalizer: Normalizer) -> bool:
        found.append(len(found))
        return False  # it is not what this is about

    monkeypatch.setattr(Normalizer, "compile", compile_none)
    return found


def sealed_segments(folder: Path, loads: list[int], count: int) -> list[int]:
    """Seal so many segments of nine frames by one sealer; how often compiled code was asked for after each."""
    recorder = HandRecorder(folder)
    after = []
    for _ in range(count):
        recorder.write(9)
        recorder.rotate()
        recorder.seal()
        after.append(len(loads))
    recorder.end()
    return after


def size_of_nine(folder: Path) -> int:
    recorder = HandRecorder(folder)
    recorder.write(9)
    recorder.rotate()
    size = journal_path(folder, 0).stat().st_size
    recorder.end()
    return size


@pytest.mark.parametrize(
    ("is_kept", "is_loaded", "asked_after"),
    [
        (True, False, [0, 0, 1, 2]),  # what was sealed without it counts, in however many segments
        (True, True, [1, 2, 3, 4]),
        (False, False, [0, 0, 0, 0]),
    ],
)
def test_compiled_code_is_loaded_once_that_takes_no_longer_than_sealing_without(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    loads: list[int],
    is_kept: bool,
    is_loaded: bool,
    asked_after: list[int],
) -> None:
    monkeypatch.setattr("recordings.states.normalizer.are_compiled", lambda which: is_kept)
    monkeypatch.setattr(Normalizer, "takes_batches", property(lambda self: is_loaded))
    monkeypatch.setattr(journal_sealing, "LOAD_BYTES", 5 * size_of_nine(tmp_path / "one") // 2)
    loads.clear()
    assert sealed_segments(tmp_path / "tape", loads, 4) == asked_after


def test_a_journal_that_takes_as_long_as_compiling_is_compiled_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loads: list[int]
) -> None:
    monkeypatch.setattr("recordings.states.normalizer.are_compiled", lambda which: False)
    monkeypatch.setattr(journal_sealing, "COMPILE_BYTES", size_of_nine(tmp_path / "one"))
    loads.clear()
    assert sealed_segments(tmp_path / "tape", loads, 2) == [1, 2]
