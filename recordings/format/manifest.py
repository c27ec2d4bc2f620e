"""
The manifest, `recording.json`: what a recording holds, as one JSON object.

It is written whole, by rename, after every sealed segment, and carries a checksum of itself: whatever else is checked
is checked against what stands here.
"""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec

from recordings.format.schema import FORMAT_VERSION, RESULT_TABLES
from recordings.storage.atomic_files import read_regular, write_atomically
from toolkit.errors import FormatTooNew, NotARecording, RecordingDamaged, RecordingError

__all__ = [
    "CHECKSUM_VERSION",
    "MANIFEST_NAME",
    "InputFile",
    "Manifest",
    "Segment",
    "SourceInfo",
    "TableFile",
    "checksum_of",
    "encode_manifest",
    "inside",
    "lacks_raw",
    "read_manifest",
    "write_manifest",
]

MANIFEST_NAME: Final = "recording.json"
FORMAT_NAME: Final = "tickdeck-recording"
#: From this version on a manifest without a checksum is damaged.
CHECKSUM_VERSION: Final = 2
STATUSES: Final = ("running", "sealed", "recovered")
#: Where its rows come from; of the last two there are no frames, see `Manifest.run`.
ORIGINS: Final = ("live", "import", "backtest", "paper")
#: Times, numbers and sizes are int64 wherever they go from here.
_INT_MAX: Final = (1 << 63) - 1
#: Of what is counted and added up.
_COUNT_MAX: Final = 1 << 53
_COUNTED: Final = (
    "number",
    "frame_count",
    "capture_seq_first",
    "capture_seq_last",
    "message_count",
    "imprecise_values",
)
_HASH: Final = re.compile(r"[0-9a-f]{64}")


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
        number: Number, from 0 and without holes.
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
        pairs: Pairs as the user named them; empty for an import.
        channels: Channels as the user named them; empty for the venue's default.
        accounts: Addresses whose user streams were asked for.
        settings: Other options of the venue.
        ws_url: WebSocket that frames came from.
        rest_url: REST interface that frames came from.
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
        origin: `live` or `import`; of the result of a run `backtest` or `paper`.
        created_ns: When it was begun, ns; of an import, the first receive time.
        sources: The venues.
        symbols: Every symbol with a row, as `venue/symbol` to trading pair.
        segments: Segments in order.
        digest_version: Version of the digest's definition.
        digest: After the last segment.
        live_digest: Digest that the live code computed while receiving; None for an import.
        resume: State after the last segment, from which recording goes on; None for an import and a result.
        flush_interval_s: How long the journal may hold a frame back, seconds: what a crash can lose.
        inputs: The files of an import.
        run: Settings and figures of a run, if this is its result: see `replay.results.run_info`.
        migrated_from: Version that it was read from, if an older one, whose manifest nothing vouches for; never written.
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
    run: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    migrated_from: int | msgspec.UnsetType = msgspec.UNSET

    @property
    def is_result(self) -> bool:
        """Whether it is the result of a run, which has no frames."""
        return self.run is not msgspec.UNSET

    @property
    def is_checked(self) -> bool:
        """Whether the manifest was read with its checksum, so that hashes in it may be relied on."""
        return self.version_read >= CHECKSUM_VERSION

    @property
    def version_read(self) -> int:
        """The format version that it was read from."""
        return self.format_version if self.migrated_from is msgspec.UNSET else self.migrated_from

    @property
    def counts(self) -> dict[str, int]:
        """Messages and events by kind, over all segments."""
        total: dict[str, int] = {}
        for segment in self.segments:
            for name, count in segment.counts.items():
                total[name] = total.get(name, 0) + count
        return dict(sorted(total.items()))


class _Stored(Manifest, kw_only=True):
    """The manifest as it has to be on disk: without these there is nothing to go by."""

    status: str
    origin: str
    created_ns: int
    sources: list[SourceInfo]
    symbols: dict[str, str]
    segments: list[Segment]
    digest_version: int
    digest: str


class _Written(Manifest, kw_only=True):
    checksum: str


class _Head(msgspec.Struct):
    format: str
    format_version: int
    checksum: str | None = None


_decode_head = msgspec.json.Decoder(_Head).decode
_decode = msgspec.json.Decoder(_Stored).decode
_encode = msgspec.json.Encoder().encode


def read_manifest(folder: Path) -> Manifest:
    """
    The manifest of a recording's folder.

    Raises:
        NotARecording: There is no such folder, or no manifest in it.
        FormatTooNew: A newer tickdeck wrote it.
        RecordingDamaged: The manifest cannot be read, or is not the one that was written.
        RecordingError: The folder has a path that no table could be opened by.
    """
    path = folder / MANIFEST_NAME
    try:
        str(folder.absolute()).encode()
    except UnicodeEncodeError:
        name = os.fsencode(folder).decode("utf-8", "backslashreplace")
        raise RecordingError(f"{name} has a path that is no UTF-8, which Arrow cannot open: rename it") from None
    try:
        text = read_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        what = "no such folder" if not folder.exists() else f"no {MANIFEST_NAME} in it"
        raise NotARecording(
            f"{folder} is not a recording: {what}; expected a folder made by record or import"
        ) from None
    except OSError as exc:
        raise RecordingDamaged(f"{path} cannot be read: {exc.strerror}") from None
    except ValueError:
        raise NotARecording(f"{str(folder)!r} is not a recording: no path has a NUL in it") from None
    from recordings.format.migrations import migrated  # it imports this module

    try:
        head = _decode_head(text)
        _check_head(folder, text, head)
        stored = _decode(migrated(text, head.format_version))
    # Deep nesting ends the recursion, and what is no UTF-8 is recognized by the codec itself.
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise _damaged(path, str(exc)) from None
    manifest = Manifest(**{name: getattr(stored, name) for name in Manifest.__struct_fields__})
    if problem := _problem(manifest):
        raise _damaged(path, problem)
    return manifest


def _check_head(folder: Path, text: bytes, head: _Head) -> None:
    path, version = folder / MANIFEST_NAME, head.format_version
    # First of all, also of a version to come: the checksum keeps its meaning, and any other word may be a wrong one.
    if head.checksum is not None and checksum_of(text, head.checksum) != head.checksum:
        raise _damaged(path, "it does not have the checksum that it was written with")
    if head.format != FORMAT_NAME:
        raise NotARecording(f"{path} says format {head.format!r}, expected {FORMAT_NAME!r}")
    if version > FORMAT_VERSION:
        raise FormatTooNew(
            f"{folder} has format version {version}, this tickdeck reads up to {FORMAT_VERSION}: upgrade tickdeck"
        )
    if version < 1:
        raise RecordingDamaged(f"{path} says format version {version}, expected 1 to {FORMAT_VERSION}")
    if version >= CHECKSUM_VERSION and head.checksum is None:
        raise _damaged(path, f"it has no checksum, which version {version} requires")


def checksum_of(text: bytes, checksum: str) -> str:
    """BLAKE2b-256 of a manifest's bytes with the digits of its checksum set to 0, hexadecimal."""
    if not _HASH.fullmatch(checksum):
        return "64 hexadecimal digits"
    blank = text.replace(checksum.encode(), b"0" * len(checksum), 1)
    return blake2b(blank, digest_size=32).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest so that a reader finds the old one or the new one, never half of either."""
    write_atomically(folder / MANIFEST_NAME, encode_manifest(manifest))


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as it is on disk, in the present version, with its checksum."""
    fields = {**msgspec.structs.asdict(manifest), "migrated_from": msgspec.UNSET, "format_version": FORMAT_VERSION}
    blank = "0" * 64
    text = msgspec.json.format(_encode(_Written(**fields, checksum=blank)), indent=2) + b"\n"
    place = text.rindex(blank.encode())
    digest = checksum_of(text, blank).encode()
    return text[:place] + digest + text[place + len(digest) :]


def _damaged(path: Path, why: str) -> RecordingDamaged:
    return RecordingDamaged(f"{path} is damaged ({why}): expected the manifest of a recording")


def _problem(manifest: Manifest) -> str:
    """What no manifest can say; empty if nothing. Whether it is true besides is for `verify` to find out."""
    if manifest.status not in STATUSES:
        return f"status {manifest.status!r}, expected one of {', '.join(STATUSES)}"
    if manifest.origin not in ORIGINS:
        return f"origin {manifest.origin!r}, expected one of {', '.join(ORIGINS)}"
    numbers = {"created_ns": manifest.created_ns}
    counts = {"digest_version": manifest.digest_version}
    files = [] if manifest.resume is None else [manifest.resume]
    for place, segment in enumerate(manifest.segments):
        for name in ("ts_recv_first", "ts_recv_last"):
            numbers[f"{name} of segment {place}"] = getattr(segment, name)
        for name in _COUNTED:
            counts[f"{name} of segment {place}"] = getattr(segment, name)
        counts |= {f"count of {name} in segment {place}": count for name, count in segment.counts.items()}
        files += segment.files
    for file in files:
        counts |= {f"rows of {file.path!r}": file.rows, f"bytes of {file.path!r}": file.bytes}
    for found, most in ((numbers, _INT_MAX), (counts, _COUNT_MAX)):
        for name, number in found.items():
            if not 0 <= number <= most:
                return f"{name} is {number}, expected 0 to {most}"
    return ""


def lacks_raw(folder: Path, segment: Segment) -> str:
    """What to say where the raw frames of a segment are wanted and it names none."""
    if RESULT_TABLES.keys() & segment.tables.keys():
        return f"{folder} is the result of a run, which has no raw frames"
    return f"{folder} holds no raw frames of segment {segment.number} any more"


def inside(folder: Path, relative: str) -> Path:
    """A path that a manifest names. Raises RecordingDamaged if it leaves the recording's folder, or is no path at all."""
    try:
        base = folder.resolve()
        path = (base / relative).resolve()
        is_inside = base in path.parents
        if is_inside:
            path.lstat()  # a name may be too long for the file system
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, links in a circle
        is_inside = False
    if not is_inside:
        raise RecordingDamaged(f"{folder / MANIFEST_NAME} names {relative!r}: expected a file inside the recording")
    return path
