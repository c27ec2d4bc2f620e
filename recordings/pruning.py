"""Old raw frames, removed on purpose: the normalized tables stay."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from recordings.manifest import Manifest, inside, read_manifest, write_manifest
from recordings.schema import RAW_TABLE
from toolkit.clock import NS_PER_S, Clock
from toolkit.errors import RecordingError

__all__ = ["prune"]

_DAY_NS: Final = 86_400 * NS_PER_S


def prune(folder: Path, keep_raw_days: float, clock: Clock) -> tuple[Manifest, int]:
    """
    Remove raw frames that were received more than `keep_raw_days` ago; the caller holds the recording's lock.

    Only whole segments, and never the last one, from which recording goes on. Such a segment can still be replayed
    from its normalized rows, but not renormalized.

    Returns:
        The new manifest, and the bytes that were freed.

    Raises:
        RecordingError: The recording was not sealed.
    """
    manifest = read_manifest(folder)
    if manifest.status == "running":
        raise RecordingError(f"{folder} is not sealed: run `tickdeck recover {folder}` first")
    before = clock.time_ns() - round(keep_raw_days * _DAY_NS)
    gone = []
    for index, segment in enumerate(manifest.segments[:-1]):
        file = segment.tables.get(RAW_TABLE)
        if file is not None and segment.ts_recv_last < before:
            gone.append(file)
            tables = {table: kept for table, kept in segment.tables.items() if table != RAW_TABLE}
            manifest.segments[index] = msgspec.structs.replace(segment, tables=tables)
    if gone:
        write_manifest(folder, manifest)
        for file in gone:
            inside(folder, file.path).unlink(missing_ok=True)
    return manifest, sum(file.bytes for file in gone)
