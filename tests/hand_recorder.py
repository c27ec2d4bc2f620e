"""A recorder driven by hand, for tests of those who read a folder while it grows: no venue, no clock, no other process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recordings.care.recovery import needs_recovery, recover
from recordings.format.manifest import Manifest, SourceInfo, read_manifest, write_manifest
from recordings.format.schema import RAW_TABLE
from recordings.journal.journal_reader import JournalWriter, WrittenCallback
from recordings.recording import Recording
from recordings.sealing.journal_sealing import Sealer
from tests.tapes import TS
from toolkit.clock import ManualClock
from toolkit.frames import WS_IN, Frame
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

#: Receive time of frame 0, and of each the distance to the next, ns.
STEP = 1_000_000


def frame(seq: int) -> Frame:
    """Trades, garbage that is no UTF-8, pongs: by turns."""
    payload = (
        b'{"channel":"trades","data":[{"coin":"BTC","side":"B","px":"1%d","sz":"1","time":%d,"tid":%d,"hash":"0x0"}]}'
        % (seq % 7, TS // 1_000_000 + seq, seq),
        b"\xff\xfe %d" % seq,
        b'{"channel":"pong"}',
    )[seq % 3]
    return Frame(seq, TS + seq * STEP, seq * STEP, "hyperliquid", 0, 0, WS_IN, payload)


class HandRecorder:
    """
    Attributes:
        frames: All that were written.
    """

    def __init__(self, folder: Path, on_written: WrittenCallback | None = None) -> None:
        self.folder = folder
        self.frames: list[Frame] = []
        self._on_written = on_written
        self._closed: list[int] = []
        if not folder.exists():
            folder.mkdir()
            version = find_venue("hyperliquid").make_protocol(ProtocolOptions(pairs=("BTC-USD",))).version
            sources = [SourceInfo("hyperliquid", version, ("BTC-USD",))]
            write_manifest(folder, Manifest(created_ns=TS, sources=sources, software="by hand"))
        self._sealer = Sealer(folder)
        self._number = len(self.manifest.segments)
        self.journal = JournalWriter(folder, self._number, on_written=on_written)

    @classmethod
    def going_on(cls, folder: Path) -> HandRecorder:
        """One that records on into a folder, as `record` does: what needs healing is healed first."""
        if needs_recovery(folder):
            recover(folder, ManualClock(TS + 10**18))
        manifest = read_manifest(folder)
        manifest.status = "running"
        write_manifest(folder, manifest)
        recorder = cls(folder)
        recorder.frames = [frame(seq) for seq in range(manifest.segments[-1].capture_seq_last + 1)]
        if all(RAW_TABLE in segment.tables for segment in manifest.segments):
            recorder.frames = [each for batch in Recording(folder, manifest).raw_frames() for each in batch]
        return recorder

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.folder)

    def write(self, count: int = 1) -> None:
        """Write so many frames as one batch."""
        for _ in range(count):
            self.give(frame(len(self.frames)))
        self.journal.drain()

    def give(self, each: Frame) -> None:
        """Give the journal a frame, which it writes with the next batch."""
        self.frames.append(each)
        self.journal.append(each)

    def rotate(self) -> None:
        """Close the journal and begin the next, unless nothing is in it yet."""
        before = self.journal
        if not before.frame_count:
            return
        self._closed.append(self._number)
        self._number += 1
        self.journal = JournalWriter(self.folder, self._number, after=before, on_written=self._on_written)
        before.close()
        # Its own thread opens it; once that is done, nothing happens in the folder but what the test does.
        self.journal.drain()

    def seal(self) -> None:
        """Seal the oldest closed journal, if there is one."""
        if self._closed:
            self._sealer.seal(self._closed.pop(0))

    def end(self) -> Manifest:
        """End the session in good order."""
        self.journal.close()
        for number in (*self._closed, self._number):
            self._sealer.seal(number)
        self._closed = []
        manifest = self.manifest
        manifest.status = "sealed"
        write_manifest(self.folder, manifest)
        return manifest


def numbers(batches: Sequence[Sequence[Frame]]) -> list[int]:
    """The frames' numbers."""
    return [each.capture_seq for batch in batches for each in batch]
