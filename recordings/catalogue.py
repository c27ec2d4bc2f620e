"""What recordings there are in a folder: what their manifests say, and the gaps that they have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import polars as pl

from recordings.gaps import find_gaps
from recordings.journal import journal_segments
from recordings.manifest import MANIFEST_NAME, read_manifest
from toolkit.errors import RecordingError

__all__ = ["catalogue"]

_SCHEMA: Final = {
    "recording": pl.String(),
    "status": pl.String(),
    "origin": pl.String(),
    "venues": pl.String(),
    "pairs": pl.String(),
    "first": pl.Datetime("ns"),
    "last": pl.Datetime("ns"),
    "frames": pl.Int64(),
    "messages": pl.Int64(),
    "gaps": pl.Int64(),
    "segments": pl.Int64(),
    "bytes": pl.Int64(),
    "problem": pl.String(),
}
#: Pairs that are named before the rest is only counted.
_PAIRS_SHOWN: Final = 6


def catalogue(folder: Path) -> pl.DataFrame:
    """
    Every recording in a folder and below it, by path.

    Returns:
        `recording` (path below `folder`), `status`, `origin`, `venues`, `pairs` (String), `first`, `last` (Datetime ns,
        UTC), `frames`, `messages`, `gaps` (null if they cannot be read), `segments`, `bytes` (Int64) and `problem`
        (String, null if there is none).

    Raises:
        RecordingError: There is no such folder.
    """
    if not folder.is_dir():
        raise RecordingError(f"{folder} is no folder; expected one that holds recordings")
    rows = [_row(path.parent, folder) for path in sorted(folder.rglob(MANIFEST_NAME)) if path.parent.name[:1] != "."]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _row(path: Path, base: Path) -> dict[str, Any]:
    # A name need not be text, which a column has to be.
    name = os.fsencode(path.relative_to(base).as_posix()).decode("utf-8", "backslashreplace")
    try:
        manifest = read_manifest(path)
    except RecordingError as exc:
        return {"recording": name, "problem": os.fsencode(str(exc)).decode("utf-8", "backslashreplace")}
    problem, gaps = None, None
    try:
        gaps = find_gaps(path).height
    except RecordingError as exc:  # what the manifest says is worth reading all the same
        problem = os.fsencode(str(exc)).decode("utf-8", "backslashreplace")
    segments = manifest.segments
    pairs = sorted(set(manifest.symbols.values()))
    more = f" and {len(pairs) - _PAIRS_SHOWN} more" if len(pairs) > _PAIRS_SHOWN else ""
    if problem is None and (journals := journal_segments(path)):
        problem = f"{len(journals)} journals are not sealed"
    return {
        "recording": name,
        "status": manifest.status,
        "origin": manifest.origin,
        "venues": ", ".join(source.venue for source in manifest.sources),
        "pairs": ", ".join(pairs[:_PAIRS_SHOWN]) + more,
        "first": min((segment.ts_recv_first for segment in segments), default=None),
        "last": max((segment.ts_recv_last for segment in segments), default=None),
        "frames": sum(segment.frame_count for segment in segments),
        "messages": sum(segment.message_count for segment in segments),
        "gaps": gaps,
        "segments": len(segments),
        "bytes": sum(file.bytes for segment in segments for file in segment.tables.values()),
        "problem": problem,
    }
