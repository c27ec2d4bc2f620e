"""Old raw frames, removed on purpose: the normalized tables stay."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from recordings.care.rewriting import copy_of, rewriting, sealed_manifest
from recordings.care.vouching import vouched
from recordings.format.manifest import Manifest, TableFile
from recordings.format.schema import RAW_TABLE
from recordings.storage.atomic_files import disk_refusals
from toolkit.clock import NS_PER_S, Clock

__all__ = ["prune"]

_DAY_NS: Final = 86_400 * NS_PER_S


def prune(folder: Path, keep_raw_days: float, clock: Clock) -> tuple[Manifest, int]:
    """
    Remove raw frames that were received more than `keep_raw_days` ago; the caller holds the recording's lock.

    Only whole segments, and never the last one, from which recording goes on. Such a segment can still be replayed
    from its normalized rows, but not renormalized. So those rows are checked first, and the frames too: what is
    damaged is not made to look as if it had been given up.

    Returns:
        The new manifest, and the bytes that were freed.

    Raises:
        RecordingError: The recording was not sealed, or the disk refused.
        RecordingDamaged: A file of such a segment is not what was sealed.
    """
    with disk_refusals(folder, "nothing else is lost; see to the disk, then prune again"):
        manifest = copy_of(sealed_manifest(folder))
        before = clock.time_ns() - round(keep_raw_days * _DAY_NS)
        gone: list[TableFile] = []
        for index, segment in enumerate(manifest.segments[:-1]):
            file = segment.tables.get(RAW_TABLE)
            if file is not None and segment.ts_recv_last < before:
                vouched(folder, segment.tables.values())
                gone.append(file)
                tables = {table: kept for table, kept in segment.tables.items() if table != RAW_TABLE}
                manifest.segments[index] = msgspec.structs.replace(segment, tables=tables)
        if gone:
            with rewriting(folder, manifest) as rewrite:
                rewrite.commit(manifest)
    return manifest, sum(file.bytes for file in gone)
