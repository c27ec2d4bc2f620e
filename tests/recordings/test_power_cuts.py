"""A power cut at any instant takes what was not synced, and nothing else: neither sealed frames, nor those synced before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from recordings.care.compacting import compact
from recordings.care.pruning import prune
from recordings.care.recovery import recover
from recordings.care.renormalizing import renormalize
from recordings.care.verifying import verify
from recordings.format.manifest import MANIFEST_NAME, read_manifest
from recordings.journal.journal_reader import JournalReader
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from recordings.storage.atomic_files import write_atomically
from tests.chaos.storage_bugs import BUGS
from tests.chaos.storage_session import Session, session_frame
from tests.interruptions import POWER_CUT, Interruption
from tests.power_cuts import PowerCut
from toolkit.clock import ManualClock
from toolkit.errors import NotARecording
from toolkit.frames import Frame

LATER = ManualClock(2 * 10**18)


def _sealed(folder: Path) -> None:
    """Two sessions that ended in good order."""
    for _ in range(2):
        session = Session(folder)
        session.begin()
        session.give(3)
        session.stop()


def _dead(folder: Path) -> None:
    """A session that ended without a word, one segment sealed and two not."""
    session = Session(folder)
    session.begin()
    for _ in range(2):
        session.give(3)
        session.rotate()
    session.seal()
    session.give(2)
    session.flush()
    session.leave(is_killed=True)


def _go_on(folder: Path) -> object:
    session = Session(folder)
    try:
        session.begin()
        session.give(2)
        session.stop()
    finally:
        session.leave()
    return session


COMMANDS: dict[str, tuple[Callable[[Path], None], Callable[[Path], object]]] = {
    "compact": (_sealed, compact),
    "renormalize": (_sealed, renormalize),
    "prune": (_sealed, lambda folder: prune(folder, 0.0, LATER)),
    "recover": (_dead, lambda folder: recover(folder, LATER)),
    "record": (_dead, _go_on),
    "seal": (_dead, lambda folder: Sealer(folder).seal(1)),
}


def _frames(folder: Path) -> list[Frame]:
    return [each for batch in Recording.open(folder).raw_frames() for each in batch]


def _cut_everywhere(name: str, tmp_path: Path, every: int) -> int:
    """Cut the power at every so manieth instant of a command; how many cuts there were."""
    make, act = COMMANDS[name]
    at = cuts = 0
    while True:
        folder = tmp_path / f"tape-{at}"
        make(folder)
        kept = _flushed(folder)
        interruption = Interruption(folder, at, POWER_CUT)
        with interruption.in_force():
            act(folder)
        if not interruption.has_come:
            return cuts
        where = f"{interruption.names[at]} at {at}"
        recover(folder, LATER)
        assert verify(folder).problems == [], where
        if name != "prune":
            assert _frames(folder)[: len(kept)] == kept, where
        at, cuts = at + every, cuts + 1


def _flushed(folder: Path) -> list[Frame]:
    """What is there before anything happens: of files that are all synced."""
    segments = read_manifest(folder).segments
    found = [each for batch in Recording.open(folder).raw_frames(segments) for each in batch]
    for path in sorted((folder / "journal").glob("*.arrows")):
        if int(path.stem) >= len(segments):
            found += [each for batch in JournalReader(path).frames() for each in batch]
    return found


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("every", [31, pytest.param(3, marks=pytest.mark.slow)])
def test_a_power_cut_at_any_instant_costs_no_frame_that_was_there(name: str, every: int, tmp_path: Path) -> None:
    assert _cut_everywhere(name, tmp_path, every)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compact", "record"])
def test_what_is_not_synced_is_missed(name: str, tmp_path: Path) -> None:
    """Else these trials would find nothing."""
    (bug,) = (bug for bug in BUGS if "before they are synced" in bug.name)
    with bug.put_back(), pytest.raises(Exception):  # noqa: B017, PT011  # whatever a torn file leads to
        _cut_everywhere(name, tmp_path, 5)


def test_frames_that_were_synced_are_there_and_others_may_be(tmp_path: Path) -> None:
    _cut_after_a_sync(tmp_path)


@pytest.mark.parametrize("what", ["the journal's folder", "the recording's own folder"])
def test_a_folder_whose_name_is_not_synced_is_missed(what: str, tmp_path: Path) -> None:
    """The one that it is in has to be."""
    (bug,) = (bug for bug in BUGS if what in bug.name)
    with bug.put_back(), pytest.raises((AssertionError, NotARecording)):
        _cut_after_a_sync(tmp_path)


def _cut_after_a_sync(tmp_path: Path) -> None:
    for seed in range(12):
        folder = tmp_path / f"tape-{seed}"
        interruption = Interruption(folder, "now", POWER_CUT, luck=seed)
        with interruption.in_force():
            session = Session(folder)
            session.begin()
            session.give(2 + seed)
            session.flush()
            session.sync()
            session.give(3)
            session.flush()
            interruption.come_to("now")
        session.leave(is_killed=True)
        found = _flushed(folder)
        assert found == [session_frame(number) for number in range(len(found))]
        assert 2 + seed <= len(found) <= 5 + seed


def _left(tmp_path: Path, act: Callable[[Path, PowerCut], None]) -> list[dict[str, bytes] | None]:
    """What a folder may be after a power cut, each once; None where it is not there."""
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "old").write_bytes(b"old")
    power = PowerCut(folder)
    act(folder, power)
    found: list[dict[str, bytes] | None] = []
    for seed in range(60):
        target = tmp_path / f"left-{seed}"
        power.leave(target, Random(seed))
        left = (
            {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
            if target.exists()
            else None
        )
        if left not in found:
            found.append(left)
    power.close()
    return found


def test_a_name_that_was_not_synced_may_be_there_or_not_and_the_content_neither(tmp_path: Path) -> None:
    def act(folder: Path, power: PowerCut) -> None:
        (folder / "new").write_bytes(b"12")
        (folder / "new").replace(folder / "old")
        power.look()

    found = _left(tmp_path, act)
    assert {"old": b"old"} in found
    assert {"old": b""} in found
    assert {"old": b"12"} in found
    assert all(left is not None and left["old"] in (b"old", b"", b"1", b"12", b"1\0", b"\0\0") for left in found)


def test_what_was_synced_is_all_that_may_be_there(tmp_path: Path) -> None:
    def act(folder: Path, power: PowerCut) -> None:
        (folder / "new").write_bytes(b"12")
        for path in (folder / "new", folder):
            handle = os.open(path, os.O_RDONLY)
            power.synced(handle)
            os.close(handle)
        (folder / "old").unlink()
        power.look()

    found = _left(tmp_path, act)
    assert len(found) == 2
    assert {"new": b"12"} in found
    assert {"new": b"12", "old": b"old"} in found


def test_an_atomic_write_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    for at in range(12):
        folder = tmp_path / f"disk-{at}"
        folder.mkdir()
        write_atomically(folder / MANIFEST_NAME, b"before")
        interruption = Interruption(folder, at, POWER_CUT)
        with interruption.in_force():
            write_atomically(folder / MANIFEST_NAME, b"after")
        assert (folder / MANIFEST_NAME).read_bytes() in (b"before", b"after")
    assert not interruption.has_come
    assert (folder / MANIFEST_NAME).read_bytes() == b"after"
