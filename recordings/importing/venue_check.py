"""
Whether frames that are about to be imported are of the venue that they are said to be of.

A wrong venue does not fail by itself: every frame is kept, counted and cannot be parsed, or is parsed as what it is not.
So the first frames of each file go through a protocol of their own beforehand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final

from recordings.importing.capture_files import CaptureFile
from toolkit.errors import ImportFailed
from toolkit.frames import WS_IN, Frame
from toolkit.messages import EventKind, StreamEvent
from toolkit.protocol import ProtocolOptions
from toolkit.venue import VenueSpec, venues

__all__ = ["check_venue"]

#: Frames of each file that are looked at; more, while none of them means anything.
SAMPLE_FRAMES: Final = 500
SAMPLE_FRAMES_MAX: Final = 20_000
#: Payload bytes after which, where some frame has meant something, no more goes through the protocol: 500 whole books
#: take as long as the import of 20,000 frames.
SAMPLE_BYTES: Final = 1 << 20
#: So many are tried with other venues.
_TRIED_FRAMES: Final = 500
_ERROR_CHARACTERS: Final = 160


class _Sample:
    """What a venue's protocol makes of some frames."""

    def __init__(self, spec: VenueSpec) -> None:
        self._name = spec.name
        self._protocol = spec.make_protocol(ProtocolOptions())
        self._venue_of = spec.venue_of
        self.frames = 0
        self._payload_bytes = 0
        #: Frames that said something of a market or an account.
        self.meant = 0
        self.errors = 0
        self.first_error = ""
        #: Venues that frames are recognized as, by how many.
        self.told: Counter[str] = Counter()

    def take(self, payload: bytes, ts_recv: int) -> None:
        """The next frame."""
        if not self.meant or self._payload_bytes < SAMPLE_BYTES:
            self._play(payload, ts_recv)
        self.frames += 1
        self._payload_bytes += len(payload)
        venue = self._venue_of(payload)
        if venue is not None:
            self.told[venue] += 1

    def _play(self, payload: bytes, ts_recv: int) -> None:
        messages = self._protocol.receive(Frame(self.frames, ts_recv, ts_recv, self._name, 0, 0, WS_IN, payload))
        self._protocol.requests()
        if any(not isinstance(message, StreamEvent) for message in messages):
            self.meant += 1
        for message in messages:
            if isinstance(message, StreamEvent) and message.kind is EventKind.PARSE_ERROR:
                self.errors += 1
                self.first_error = self.first_error or message.detail

    @property
    def is_foreign(self) -> bool:
        """Whether these are not the venue's frames."""
        if self.told and self._name not in self.told:
            return True
        return not self.meant and self.errors > 0 and 2 * self.errors >= self.frames


def check_venue(file: CaptureFile, spec: VenueSpec) -> None:
    """Raise ImportFailed, with the venue that is likely meant, if the first frames of a file are not of that venue."""
    sample = _Sample(spec)
    seen: list[tuple[bytes, int]] = []
    lines = CaptureFile(file.path, file.line_format, file.given_unit)
    for line in islice((line for line in lines if line.ts_recv is not None), SAMPLE_FRAMES_MAX):
        sample.take(line.payload, line.ts_recv or 0)
        if len(seen) < _TRIED_FRAMES:
            seen.append((line.payload, line.ts_recv or 0))
        if sample.frames >= SAMPLE_FRAMES and (sample.meant or sample.told):
            break
    if not sample.is_foreign:
        return
    likely = sample.told.most_common(1)[0][0] if sample.told else _likely(spec, seen)
    looks = (
        f"they look like those of {likely}: say --venue {likely}" if likely else "nor do they look like another venue's"
    )
    if sample.meant:
        raise ImportFailed(f"{file.path}: its frames are not of {spec.name}, though they can be read as such: {looks}")
    raise ImportFailed(
        f"{file.path}: none of its first {sample.frames:,} frames is one of {spec.name}, {looks} (the first: "
        f"{sample.first_error[:_ERROR_CHARACTERS]})"
    )


def _likely(spec: VenueSpec, seen: Sequence[tuple[bytes, int]]) -> str:
    """The venue that can make most of the frames; empty if none can."""
    best, name = 0, ""
    for other in venues().values():
        if other.name == spec.name:
            continue
        sample = _Sample(other)
        for payload, ts_recv in seen:
            sample.take(payload, ts_recv)
        if not sample.is_foreign and sample.meant > best:
            best, name = sample.meant, other.name
    return name
