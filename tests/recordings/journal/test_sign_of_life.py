"""Until when a recorder was alive is in its journal: a copy of the folder is healed as the folder itself."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from recordings.care.recovery import recover
from recordings.care.verifying import verify
from recordings.format.frames_to_rows import STREAM_BEGIN
from recordings.format.manifest import MANIFEST_NAME, Manifest, SourceInfo, read_manifest, write_manifest
from recordings.journal.journal_reader import JournalReader, JournalWriter
from recordings.journal.sign_of_life import PLACE, begin_of, sign_of_life, stamp
from recordings.reading.loss import LATE_NS
from recordings.reading.tail import look_for_tail
from recordings.storage.lock import FolderLock
from tests.hand_recorder import frame
from tests.tapes import TS
from toolkit.clock import NS_PER_S, ManualClock
from toolkit.errors import RecordingError
from toolkit.frames import CONTROL, Frame, control_payload

FLUSH_S = 0.25
MARGIN_NS = round(FLUSH_S * NS_PER_S) + LATE_NS
DAY_NS = 86_400 * NS_PER_S


def crashed(folder: Path, seen_ns: int, frames: int = 3, opened_ns: int = TS - NS_PER_S) -> Path:
    """A recording whose recorder was seen alive then, and no more; its journal."""
    folder.mkdir(exist_ok=True)
    source = SourceInfo("hyperliquid", 1, ("BTC-USD",))
    if not (folder / MANIFEST_NAME).exists():
        write_manifest(folder, Manifest(sources=[source], flush_interval_s=FLUSH_S))
    number = len(read_manifest(folder).segments)
    writer = JournalWriter(folder, number, opened_ns=opened_ns)
    for seq in range(frames):
        writer.append(frame(seq))
    writer.drain()
    writer.look(seen_ns)
    writer.release()
    with suppress(OSError):  # it writes no end
        writer.close()
    return writer.path


def copied(folder: Path, name: str) -> Path:
    """A copy as `cp -r` makes it: all files are of now."""
    return Path(shutil.copytree(folder, folder.with_name(name), copy_function=shutil.copy))


def healed(folder: Path, now_ns: int) -> tuple[int | None, int | None, dict[str, bytes]]:
    """Between which times frames may be missing, and every file then."""
    with FolderLock(folder):
        result = recover(folder, clock(now_ns))
    assert verify(folder).problems == []
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files["recording.lock"]
    return result.lost_from, result.lost_until, files


def clock(now_ns: int) -> ManualClock:
    """Of a machine that has been up for long."""
    made = ManualClock(now_ns)
    made._mono_ns = 10 * DAY_NS
    return made


def test_a_copy_is_healed_to_the_same_bytes(tmp_path: Path) -> None:
    """Whenever it is made and healed, and whatever its files' times."""
    seen_ns = TS + 60 * NS_PER_S
    path = crashed(tmp_path / "tape", seen_ns)
    os.utime(path, ns=(seen_ns, seen_ns))
    copy = copied(tmp_path / "tape", "copy")
    here = healed(tmp_path / "tape", seen_ns + 6 * NS_PER_S)
    assert here[:2] == (frame(2).ts_recv, seen_ns + MARGIN_NS)
    assert healed(copy, seen_ns + DAY_NS) == here


def test_a_copy_of_a_session_that_wrote_nothing_says_when_it_began(tmp_path: Path) -> None:
    """When its journal was opened, whenever the manifest was copied."""
    folder = tmp_path / "tape"
    crashed(folder, TS)
    healed(folder, TS + DAY_NS)
    manifest = read_manifest(folder)
    manifest.status = "running"
    write_manifest(folder, manifest)
    opened_ns = TS + 2 * DAY_NS
    crashed(folder, opened_ns + 7, frames=0, opened_ns=opened_ns)
    copy = copied(folder, "copy")
    here = healed(folder, opened_ns + DAY_NS)
    assert here[:2] == (opened_ns, opened_ns + 7 + MARGIN_NS)
    assert healed(copy, opened_ns + 2 * DAY_NS) == here


def test_a_copy_is_read_as_it_will_be_healed(tmp_path: Path) -> None:
    """What reads what a dead recorder left states the same loss."""
    crashed(tmp_path / "tape", TS + NS_PER_S)
    copy = copied(tmp_path / "tape", "copy")
    tail = look_for_tail(copy, read_manifest(copy), clock(TS + 2 * DAY_NS))
    assert tail is not None
    assert tail.loss is not None
    assert healed(tmp_path / "tape", TS + DAY_NS)[:2] == (tail.loss.from_ns, tail.loss.until_ns)


def test_what_was_received_shows_that_the_recorder_lived(tmp_path: Path) -> None:
    """Where it could write and not look after its files."""
    crashed(tmp_path / "tape", seen_ns=TS - NS_PER_S)
    assert healed(tmp_path / "tape", TS + DAY_NS)[:2] == (frame(2).ts_recv, frame(2).ts_recv + MARGIN_NS)


@pytest.mark.parametrize("damage", [b"9", b"x"])
def test_a_stamp_that_is_damaged_is_not_believed(tmp_path: Path, damage: bytes) -> None:
    """Then the file's own time counts, and every frame is read."""
    path = crashed(tmp_path / "tape", TS + NS_PER_S)
    with path.open("r+b") as file:
        file.seek(PLACE + 25)
        file.write(damage)
    os.utime(path, ns=(TS, TS + 5))
    assert sign_of_life(path) == (None, TS + 5)
    assert sum(map(len, JournalReader(path).frames())) == 3


def test_a_journal_that_was_emptied_is_not_stamped(tmp_path: Path) -> None:
    """That would hide under zeros what was done to it."""
    writer = JournalWriter(tmp_path, 0, opened_ns=TS)
    os.truncate(writer.path, 0)
    writer.look(TS + 1)
    assert writer.path.read_bytes() == b""
    with pytest.raises(RecordingError, match="was cut"):
        writer.close()


def test_a_journal_that_is_written_again_keeps_its_stamps(tmp_path: Path) -> None:
    """It was removed while it was recorded."""
    writer = JournalWriter(tmp_path, 0, opened_ns=TS)
    writer.append(Frame(0, TS, 0, "hyperliquid", -1, 0, CONTROL, control_payload("session_start")))
    writer.drain()
    writer.look(TS + 1)
    writer.path.unlink()
    writer.look(TS + 2)
    assert sign_of_life(writer.path) == (TS, TS + 1)
    writer.look(TS + 3)
    assert sign_of_life(writer.path) == (TS, TS + 3)
    assert writer.path.read_bytes()[PLACE:].startswith(stamp(TS, TS + 3))
    writer.close()
    assert sum(map(len, JournalReader(writer.path).frames())) == 1


@pytest.mark.parametrize("opened_ns", [TS, 0])
def test_no_flipped_bit_of_the_beginning_costs_a_frame_or_is_believed(tmp_path: Path, opened_ns: int) -> None:
    """The stamps are as they were, or the file's own time counts; the frames are there, whatever length is damaged."""
    path = crashed(tmp_path / "tape", TS + NS_PER_S, opened_ns=opened_ns)
    content, sound = path.read_bytes(), sign_of_life(path)
    count = len(begin_of(opened_ns) if opened_ns else STREAM_BEGIN)
    for place in (*range(32), *range(32, count, 7)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        os.utime(path, ns=(TS, TS + 5))
        assert sign_of_life(path) in (sound, (None, TS + 5)), place
        assert sum(map(len, JournalReader(path).frames())) == 3, place
