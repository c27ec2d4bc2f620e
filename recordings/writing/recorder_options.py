"""How to record: what a `Recorder` is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from recordings.following.tee import TeeOptions
from recordings.format.manifest import SourceInfo
from recordings.journal.journal_reader import FLUSH_BYTES, PENDING_BYTES_MAX
from recordings.writing.privacy import Pseudonyms
from toolkit.protocol import ProtocolOptions
from toolkit.transport.urls import public_url
from toolkit.venue import VenueSpec

__all__ = ["Fsync", "RecorderOptions", "VenueRequest"]


class Fsync(StrEnum):
    """When the journal is forced to the disk: after every flush, at intervals, or never."""

    ALWAYS = "always"
    INTERVAL = "interval"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueRequest:
    """
    A venue to record.

    Attributes:
        spec: The venue.
        options: Pairs, channels and the like.
        ws_url: Its WebSocket; the venue's own if None.
        rest_url: Its REST interface; the venue's own if None.
        ssl_ca: A PEM file of certificate authorities trusted besides the system's.

    Raises:
        ConfigError: Accounts at a venue whose market alone is recorded.
    """

    spec: VenueSpec
    options: ProtocolOptions
    ws_url: str | None = None
    rest_url: str | None = None
    ssl_ca: Path | None = None

    def __post_init__(self) -> None:
        self.spec.check_accounts(self.options.accounts)

    def source_info(self, protocol_version: int) -> SourceInfo:
        """What the manifest keeps of it."""
        return SourceInfo(
            self.spec.name,
            protocol_version,
            self.options.pairs,
            self.options.channels,
            self.options.accounts,
            dict(self.options.settings),
            public_url(self.ws_url or self.spec.ws_url),
            public_url(self.rest_url or self.spec.rest_url),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderOptions:
    """
    How to record.

    Attributes:
        folder: The recording: new, empty, or one that is to be continued.
        venues: Venues to record, and the pairs of each.
        flush_interval_s: How long the journal may hold a frame back.
        flush_bytes: At this many payload bytes it does not.
        fsync: When the journal is forced to the disk.
        fsync_interval_s: How often, for `Fsync.INTERVAL`.
        rotate_s: Segments end at multiples of this since midnight UTC; 3600 is every full hour.
        rotate_bytes: And at this size of the journal.
        pending_bytes_max: Payload bytes held in memory while the disk is too slow; more stops the recording.
        disk_free_min: Bytes that must stay free on the disk; recording stops cleanly before it takes them.
        wait_for_venue: Keep trying to reach a venue for the first time.
        backoff_seed: Decides the jitter of reconnects; unpredictable if None.
        privacy: Replaces addresses, those of the accounts too, before anything is written; None to record them.
        tee: How clients can follow the recording while it is made; None for not at all.
    """

    folder: Path
    venues: Sequence[VenueRequest]
    flush_interval_s: float = 0.25
    flush_bytes: int = FLUSH_BYTES
    fsync: Fsync = Fsync.INTERVAL
    fsync_interval_s: float = 1.0
    rotate_s: float = 3600.0
    rotate_bytes: int = 256 << 20
    pending_bytes_max: int = PENDING_BYTES_MAX
    disk_free_min: int = 512 << 20
    wait_for_venue: bool = False
    backoff_seed: int | None = None
    privacy: Pseudonyms | None = None
    tee: TeeOptions | None = None
