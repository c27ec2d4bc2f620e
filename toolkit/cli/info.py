"""`tickdeck info`: what a recording holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.options import json_option, recording_argument
from toolkit.cli.output import examples, say_facts
from toolkit.cli.printable import say_json
from toolkit.clock import NS_PER_S, format_ns
from toolkit.errors import RecordingError

if TYPE_CHECKING:
    from recordings.manifest import Manifest

__all__ = ["info", "summary", "write_summary"]


@click.command(epilog=examples("tickdeck info tapes/monday", "tickdeck info tapes/monday --json"))
@recording_argument
@json_option
def info(recording: Path, as_json: bool) -> None:
    """Say what a recording holds: venues, pairs, time span, tables, gaps, digest."""
    from recordings.recording import Recording
    from recordings.remarks import remarks

    opened = Recording.open(recording)
    values = summary(recording, opened.manifest)
    try:
        values["remarks"] = remarks(opened)
    except RecordingError as exc:
        values["problem"] = str(exc)
    write_summary(values, as_json)
    if "problem" in values:  # what the manifest says is worth reading all the same
        raise RecordingError(values["problem"])


def summary(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """
    What a manifest says, and how many gaps there are, in the order people ask for it.

    Returns:
        What `tickdeck info --json` prints: `gaps` is null, and `problem` says why, where the events cannot be trusted.
    """
    from recordings.gaps import find_gaps
    from recordings.journal import journal_segments

    gaps, problem = None, None
    try:
        gaps = find_gaps(folder).height
    except RecordingError as exc:
        problem = str(exc)
    tables: dict[str, dict[str, int]] = {}
    for segment in manifest.segments:
        for name, file in segment.tables.items():
            entry = tables.setdefault(name, {"rows": 0, "bytes": 0})
            entry["rows"] += file.rows
            entry["bytes"] += file.bytes
    first = min((segment.ts_recv_first for segment in manifest.segments), default=None)
    last = max((segment.ts_recv_last for segment in manifest.segments), default=None)
    result: dict[str, Any] = {
        "recording": str(folder),
        "status": manifest.status,
        "origin": manifest.origin,
        "format_version": manifest.version_read,
        "software": manifest.software,
        "venues": [source.venue for source in manifest.sources],
        "pairs": sorted(set(manifest.symbols.values())),
        "first": format_ns(first) if first is not None else None,
        "last": format_ns(last) if last is not None else None,
        "seconds": (last - first) / NS_PER_S if first is not None and last is not None else 0.0,
        "frames": sum(segment.frame_count for segment in manifest.segments),
        "messages": sum(segment.message_count for segment in manifest.segments),
        "segments": len(manifest.segments),
        "gaps": gaps,
        "counts": manifest.counts,
        "imprecise_values": sum(segment.imprecise_values for segment in manifest.segments),
        "tables": tables,
        "digest": manifest.digest,
        "live_digest": manifest.live_digest,
        "inputs": [
            {
                "name": file.name,
                "lines": file.lines,
                "damaged_lines": file.damaged_lines,
                "time_unit": file.time_unit,
                "note": file.note,
            }
            for file in manifest.inputs
        ],
    }
    journals = journal_segments(folder)
    if journals:
        result["unsealed_journals"] = len(journals)
    if problem is not None:
        result["problem"] = problem
    return result


def write_summary(values: dict[str, Any], as_json: bool) -> None:
    """Print a summary as JSON, or laid out for people."""
    from recordings.manifest import CHECKSUM_VERSION

    if as_json:
        say_json(values)
        return
    unchecked = "" if values["format_version"] >= CHECKSUM_VERSION else ", unchecked: format version 1 has no checksums"
    lines = [
        (
            "recording",
            f"{values['recording']} ({values['status']}, {values['origin']}, {values['segments']} segments{unchecked})",
        ),
        ("venues", ", ".join(values["venues"])),
        ("pairs", _shortened(values["pairs"])),
        ("from", values["first"] or "-"),
        ("to", f"{values['last'] or '-'} ({values['seconds']:,.3f} s)"),
        ("frames", f"{values['frames']:,}, messages {values['messages']:,}"),
    ]
    for name, table in values["tables"].items():
        lines.append((f"  {name}", f"{table['rows']:,} rows, {table['bytes']:,} bytes"))
    if values["gaps"] is None:
        lines.append(("gaps", "not known"))
    elif values["gaps"]:
        lines.append(("gaps", f"{values['gaps']:,}"))
    counts = values["counts"]
    for name, text in (
        ("trades_history", "trades that are history"),
        ("trades_duplicate", "trades seen before"),
        ("event_disconnected", "connections lost or closed"),
        ("event_parse_error", "frames that could not be parsed"),
        ("event_quarantined", "coins left out"),
        ("event_clock_step", "steps of the wall clock"),
    ):
        if counts.get(name):
            lines.append((text, f"{counts[name]:,}"))
    if values["imprecise_values"]:
        lines.append(("imprecise", f"{values['imprecise_values']:,} values of more than 15 digits (exact in raw)"))
    for file in values["inputs"]:
        damaged = f", {file['damaged_lines']:,} damaged" if file["damaged_lines"] else ""
        note = f", {file['note']}" if file["note"] else ""
        lines.append((f"  {file['name']}", f"{file['lines']:,} lines{damaged}{note}"))
    if "unsealed_journals" in values:
        lines.append(("unsealed", f"{values['unsealed_journals']} journals: run `tickdeck recover`"))
    lines += [("note", text) for text in values.get("remarks", ())]
    lines.append(("digest", values["digest"] or "-"))
    say_facts(lines)


def _shortened(names: list[str], limit: int = 12) -> str:
    if len(names) <= limit:
        return ", ".join(names) or "-"
    return f"{', '.join(names[:limit])} and {len(names) - limit} more"
