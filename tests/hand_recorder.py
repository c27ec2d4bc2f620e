"""A recorder driven by hand, for tests of those who read a folder while it grows: no venue, no clock, no other process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recordings.journal import JournalWriter, WrittenCallback
from recordings.manifest import Manifest, SourceInfo, read_manifest, write_manifest
from recordings.sealing import Sealer
from tests.tapes import TS
from toolkit.frames import WS_IN, Frame

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
        self._number = 0
        folder.mkdir(exist_ok=True)
        sources = [SourceInfo("hyperliquid", 1, ("BTC-USD",))]
        write_manifest(folder, Manifest(created_ns=TS, sources=sources, software="by hand"))
        self._sealer = Sealer(folder)
        self.journal = JournalWriter(folder, 0, on_written=on_written)

    @property
    def manifest(self) -> Manifest:
        return read_manifest(self.folder)

    def write(self, count: int = 1) -> None:
        """Write so many frames as one batch."""
        for _ in range(count):
            self.frames.append(frame(len(self.frames)))
            self.journal.append(self.frames[-1])
        self.journal.drain()

    def rotate(self) -> None:
        """Close the journal and begin the next, unless nothing is in it yet."""
        before = self.journal
        if not before.frame_count:
            return
        self._closed.append(self._number)
        self._number += 1
        self.journal = JournalWriter(self.folder, self._number, after=before, on_written=self._on_written)
        before.close()

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
