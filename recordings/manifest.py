"""
The manifest, `recording.json`: what a recording holds, as one JSON object.

It is written whole, by rename, after every sealed segment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from recordings.files import write_atomically
from recordings.schema import FORMAT_VERSION
from toolkit.errors import FormatTooNew, NotARecording, RecordingDamaged

__all__ = [
    "MANIFEST_NAME",
    "InputFile",
    "Manifest",
    "Segment",
    "SourceInfo",
    "TableFile",
    "inside",
    "read_manifest",
    "write_manifest",
]

MANIFEST_NAME: Final = "recording.json"
FORMAT_NAME: Final = "tickdeck-recording"


class TableFile(msgspec.Struct, frozen=True):
    """
    One Parquet file.

    Attributes:
        path: Below the recording's folder, with `/`.
        rows: Number of rows.
        bytes: Size on disk.
        blake2b: BLAKE2b-256 of the file, hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    blake2b: str


class Segment(msgspec.Struct, frozen=True):
    """
    A stretch of the recording that was sealed as one.

    Attributes:
        number: From 0, without holes.
        frame_count: Frames of the segment, also once the raw table was pruned.
        capture_seq_first: First frame.
        capture_seq_last: Last frame.
        ts_recv_first: Earliest receive time, ns since the Unix epoch (UTC).
        ts_recv_last: Latest receive time.
        digest: State of the digest chain after the last frame, hexadecimal.
        digest_start: State before the first.
        tables: Files by table; a table without rows has none.
        counts: Messages and events by kind; see FORMAT.md.
        message_count: Messages in the normalized tables.
        imprecise_values: Decimals of more than 15 significant digits in the raw frames.
        checkpoint: State before the first frame, to start replaying here; None for the first segment.
        seek_points: States within the segment, to start replaying there; None if there are none.
    """

    number: int
    frame_count: int
    capture_seq_first: int
    capture_seq_last: int
    ts_recv_first: int
    ts_recv_last: int
    digest: str
    digest_start: str
    tables: dict[str, TableFile]
    counts: dict[str, int]
    message_count: int
    imprecise_values: int = 0
    checkpoint: TableFile | None = None
    seek_points: TableFile | None = None

    @property
    def files(self) -> list[TableFile]:
        """Every file of the segment."""
        derived = [file for file in (self.checkpoint, self.seek_points) if file is not None]
        return [*self.tables.values(), *derived]


class SourceInfo(msgspec.Struct, frozen=True):
    """
    A venue that was recorded and how; a replay builds its protocol from this.

    Attributes:
        venue: Name of the venue.
        protocol_version: Version of the protocol that made the normalized tables.
        pairs: As the user named them; empty for an import.
        channels: As the user named them; empty for the venue's default.
        accounts: Addresses whose user streams were asked for.
        settings: Other options of the venue.
        ws_url: Where the frames came from.
        rest_url: Likewise.
    """

    venue: str
    protocol_version: int
    pairs: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    ws_url: str = ""
    rest_url: str = ""


class InputFile(msgspec.Struct, frozen=True):
    """A file that was imported: its name (not its folder), and what became of its lines."""

    name: str
    lines: int
    damaged_lines: int
    time_unit: str
    note: str = ""


class Manifest(msgspec.Struct, kw_only=True):
    """
    The whole of `recording.json`.

    Attributes:
        format: Always `tickdeck-recording`.
        format_version: See `recordings/FORMAT.md`.
        software: Name and version of what wrote it.
        status: `running`, `sealed` or `recovered`.
        origin: `live` or `import`.
        created_ns: When it was begun, ns; of an import, the first receive time.
        sources: The venues.
        symbols: Every symbol with a row, as `venue/symbol` to trading pair.
        segments: In order.
        digest_version: Version of the digest's definition.
        digest: After the last segment.
        live_digest: As the live code computed it while receiving; None for an import.
        resume: State after the last segment, from which recording goes on; None for an import.
        flush_interval_s: How long the journal may hold a frame back, seconds: what a crash can lose.
        inputs: The files of an import.
    """

    format: str = FORMAT_NAME
    format_version: int = FORMAT_VERSION
    software: str = ""
    status: str = "running"
    origin: str = "live"
    created_ns: int = 0
    sources: list[SourceInfo] = []
    symbols: dict[str, str] = {}
    segments: list[Segment] = []
    digest_version: int = 1
    digest: str = ""
    live_digest: str | None = None
    resume: TableFile | None = None
    flush_interval_s: float = 0.0
    inputs: list[InputFile] = []

    @property
    def counts(self) -> dict[str, int]:
        """Messages and events by kind, over all segments."""
        total: dict[str, int] = {}
        for segment in self.segments:
            for name, count in segment.counts.items():
                total[name] = total.get(name, 0) + count
        return dict(sorted(total.items()))


class _Version(msgspec.Struct):
    format: str
    format_version: int


_decode_version = msgspec.json.Decoder(_Version).decode
_decode = msgspec.json.Decoder(Manifest).decode
_encoder = msgspec.json.Encoder()


def read_manifest(folder: Path) -> Manifest:
    """
    The manifest of a recording's folder.

    Raises:
        NotARecording: There is no such folder, or no manifest in it.
        FormatTooNew: A newer tickdeck wrote it.
        RecordingDamaged: The manifest cannot be read.
    """
    path = folder / MANIFEST_NAME
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        what = "no such folder" if not folder.exists() else f"no {MANIFEST_NAME} in it"
        raise NotARecording(
            f"{folder} is not a recording: {what}; expected a folder made by record or import"
        ) from None
    except OSError as exc:
        raise RecordingDamaged(f"{path} cannot be read: {exc.strerror}") from None
    try:
        found = _decode_version(text)
    except msgspec.DecodeError as exc:
        raise RecordingDamaged(f"{path} is damaged ({exc}): expected the manifest of a recording") from None
    if found.format != FORMAT_NAME:
        raise NotARecording(f"{path} says format {found.format!r}, expected {FORMAT_NAME!r}")
    if found.format_version > FORMAT_VERSION:
        raise FormatTooNew(
            f"{folder} has format version {found.format_version}, this tickdeck reads up to {FORMAT_VERSION}: "
            "upgrade tickdeck"
        )
    if found.format_version < 1:
        raise RecordingDamaged(f"{path} says format version {found.format_version}, expected 1 to {FORMAT_VERSION}")
    from recordings.migrations import migrated  # it imports this module

    try:
        return _decode(migrated(text, found.format_version))
    except msgspec.DecodeError as exc:
        raise RecordingDamaged(f"{path} is damaged ({exc}): expected the manifest of a recording") from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest so that a reader finds the old one or the new one, never half of either."""
    text = msgspec.json.format(_encoder.encode(manifest), indent=2)
    write_atomically(folder / MANIFEST_NAME, text + b"\n")


def inside(folder: Path, relative: str) -> Path:
    """A path that a manifest names. Raises RecordingDamaged if it leaves the recording's folder."""
    base = folder.resolve()
    path = (base / relative).resolve()
    if base not in path.parents:
        raise RecordingDamaged(f"{folder / MANIFEST_NAME} names {relative!r}: expected a file inside the recording")
    return path
