"""What recordings there are in a folder: what their manifests say, and the gaps that they have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import polars as pl

from recordings.care.compacting import small_segments
from recordings.format.file_names import files_of
from recordings.format.manifest import MANIFEST_NAME, read_manifest
from recordings.queries.gaps import find_gaps
from recordings.reading.selecting import keys_of
from recordings.recording import Recording
from toolkit.errors import RecordingError
from toolkit.keys import PairKey, named

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
    "unsealed": pl.Int64(),
    "segments": pl.Int64(),
    "bytes": pl.Int64(),
    "small_segments": pl.String(),
    "problem": pl.String(),
}
#: Pairs that are named before the rest is only counted.
_PAIRS_SHOWN: Final = 6


def catalogue(folder: Path) -> pl.DataFrame:
    """
    Every recording in a folder and below it, by path.

    Returns:
        `recording` (path below `folder`), `status` (`not recovered` where its recorder died), `origin`, `venues`,
        `pairs` (String), `first`, `last` (Datetime ns, UTC), `frames`, `messages`, `gaps`, `unsealed`, `segments`,
        `bytes` (Int64), `small_segments` and `problem` (String, null if there is none). `unsealed` counts the frames
        that are not sealed yet, null where all are; they are among the `frames`. `messages` and `gaps` are null where
        they are not known: where events cannot be read, and where more is not sealed than is played for a summary
        (`recordings.recording.SUMMARY_BYTES`). `bytes` counts tables and states of what is sealed, and
        `small_segments` says why compacting would pay (null where it would not).

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
    problem, gaps, unsealed = None, None, None
    sealed_messages = sum(segment.message_count for segment in manifest.segments)
    messages: int | None = sealed_messages
    try:
        opened = Recording(path, manifest, sealed=False)
        unsealed, played = opened.unsealed(), opened.for_summary()
        gaps = find_gaps(played).height
        if played.tail is not None:
            unsealed, messages = played.tail.unsealed, sealed_messages + played.tail.summary.message_count
        elif unsealed is not None:
            gaps, messages = None, None  # it would take too long to find out
    except RecordingError as exc:  # what the manifest says is worth reading all the same
        problem = os.fsencode(str(exc)).decode("utf-8", "backslashreplace")
    segments = manifest.segments
    # Before anything is sealed, what was asked for is all that is known.
    asked = {PairKey(source.venue, pair) for source in manifest.sources for pair in source.pairs}
    pairs = named(keys_of([manifest]) or asked)
    more = f" and {len(pairs) - _PAIRS_SHOWN} more" if len(pairs) > _PAIRS_SHOWN else ""
    if problem is None and unsealed is not None and unsealed.work.is_left:
        problem = str(unsealed)  # where somebody records it there is none
    firsts = [segment.ts_recv_first for segment in segments]
    lasts = [segment.ts_recv_last for segment in segments]
    if unsealed is not None and unsealed.since_ns is not None and unsealed.until_ns is not None:
        firsts.append(unsealed.since_ns)
        lasts.append(unsealed.until_ns)
    return {
        "recording": name,
        "status": "not recovered" if unsealed is not None and unsealed.work.is_left else manifest.status,
        "origin": manifest.origin,
        "venues": ", ".join(source.venue for source in manifest.sources),
        "pairs": ", ".join(pairs[:_PAIRS_SHOWN]) + more,
        "first": min(firsts, default=None),
        "last": max(lasts, default=None),
        "frames": sum(segment.frame_count for segment in segments) + (unsealed.frame_count if unsealed else 0),
        "messages": messages,
        "gaps": gaps,
        "unsealed": unsealed.frame_count if unsealed is not None else None,
        "segments": len(segments),
        "bytes": sum(file.bytes for file in files_of(manifest)),
        "small_segments": small_segments(segments) or None,
        "problem": problem,
    }
