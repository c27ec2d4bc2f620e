"""Several processes renormalize a recording as one does, byte for byte, and leave nothing where they cannot."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from recordings.care import renormalizing_parts
from recordings.care.part_processes import PartProcesses
from recordings.care.renormalizing import renormalize
from recordings.format.manifest import read_manifest
from recordings.storage.lock import LOCK_NAME
from tests.fuzz.hyperliquid_frames import VENUE, hyperliquid_session
from tests.recordings.care.test_raw_parts import swap_table
from tests.tapes import import_files
from tests.toolkit.cli.terminal import run

ALWAYS = "recordings.care.renormalizing.is_worth_keeping", "recordings.care.renormalizing_parts.is_worth_keeping"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of five segments."""
    folder = tmp_path_factory.mktemp("session") / "tape"
    frames = [frame for frame in hyperliquid_session(random.Random("remade"), 600) if frame.kind == "ws_in"][:500]
    lines = b"".join(b"%d %s\n" % (frame.ts_recv, frame.payload) for frame in frames)
    import_files(folder, lines, venue=VENUE, segment_frames=100, compiled=False)
    assert len(read_manifest(folder).segments) == 5
    return folder


@pytest.fixture
def folder(session: Path, tmp_path: Path) -> Path:
    return shutil.copytree(session, tmp_path / "tape")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def remade_by_one(folder: Path) -> dict[str, bytes]:
    """What one process makes of a copy."""
    alone = shutil.copytree(folder, folder.with_name("alone"))
    renormalize(alone)
    return files_of(alone)


@pytest.mark.parametrize("jobs", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_what_several_write_is_what_one_writes(folder: Path, jobs: int) -> None:
    expected, before = remade_by_one(folder), files_of(folder)
    done: list[int] = []
    with patch("recordings.care.renormalizing._remade", side_effect=AssertionError("one process did it")):
        renormalize(folder, done.append, jobs=jobs)
    assert files_of(folder) == expected
    assert expected != before
    assert sum(done) == 500


@pytest.mark.slow
def test_states_that_are_kept_are_the_same(folder: Path) -> None:
    with patch(ALWAYS[0], return_value=True), patch(ALWAYS[1], return_value=True):
        expected = remade_by_one(folder)
        renormalize(folder, jobs=2)
    assert files_of(folder) == expected
    assert [segment.checkpoint is not None for segment in read_manifest(folder).segments] == [False] + [True] * 4


@pytest.mark.slow
def test_messages_that_change_are_those_of_one(folder: Path) -> None:
    """Kept states are of no use where messages change: here since frames are others than before."""
    swap_table(folder, 1, lambda raw: raw.set_column(7, "payload", raw.column("payload").take(list(range(99, -1, -1)))))
    expected, before = remade_by_one(folder), read_manifest(folder).digest
    after = renormalize(folder, jobs=2)
    assert files_of(folder) == expected
    assert after.digest != before


@pytest.mark.parametrize("harm", ["no process", pytest.param("a state that does not fit", marks=pytest.mark.slow)])
def test_where_several_cannot_one_does_it(folder: Path, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    expected = remade_by_one(folder)
    done: list[int] = []
    if harm == "no process":
        monkeypatch.setattr("sys.executable", "/nowhere/python")
    else:
        answers = PartProcesses.answers

        def unlike(processes: PartProcesses[Any]) -> Any:
            for number, answer in answers(processes):
                if answer is not None and answer.is_last and number:
                    answer.began = "another"
                yield number, answer

        monkeypatch.setattr(PartProcesses, "answers", unlike)
    renormalize(folder, done.append, jobs=2)
    assert files_of(folder) == expected
    assert sum(done) == 500


@pytest.mark.slow
def test_what_ends_it_leaves_the_recording_as_it_was(folder: Path) -> None:
    before = files_of(folder)

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        renormalize(folder, interrupted, jobs=2)
    assert files_of(folder) == before
    assert not (folder / ".rewrite").exists()


@pytest.mark.parametrize(
    ("sizes", "jobs", "bounds"),
    [
        ([1], 2, [0, 1]),
        ([1] * 10, 1, [0, 10]),
        ([1] * 10, 2, [0, 6, 10]),
        ([1] * 20, 3, [0, 11, 17, 20]),
        ([9, 1], 2, [0, 1, 2]),
        ([1, 9], 2, [0, 2]),
        ([0, 0], 2, [0, 2]),
    ],
)
def test_later_parts_are_smaller(sizes: list[int], jobs: int, bounds: list[int]) -> None:
    assert renormalizing_parts._bounds(sizes, jobs) == bounds


@pytest.mark.slow
def test_the_command_renormalizes_by_several(folder: Path) -> None:
    expected = remade_by_one(folder)
    assert run("renormalize", folder, "--jobs", "2").exit_code == 0
    assert {**files_of(folder), LOCK_NAME: expected[LOCK_NAME]} == expected
