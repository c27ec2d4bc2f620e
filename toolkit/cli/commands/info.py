"""`tickdeck info`: what a recording holds."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.options.shared_options import json_option, recording_argument
from toolkit.cli.output.printable import say_json
from toolkit.cli.output.results import counted, examples, say_facts
from toolkit.cli.output.table_layout import some
from toolkit.clock import NS_PER_S, format_ns
from toolkit.errors import RecordingError
from toolkit.keys import PairKey, named

if TYPE_CHECKING:
    from recordings.format.manifest import Manifest
    from recordings.reading.unsealed import Unsealed
    from recordings.recording import Recording

__all__ = ["info", "summary", "write_summary"]

_PAIRS_SHOWN = 12


@click.command(epilog=examples("tickdeck info tapes/monday", "tickdeck info tapes/monday --json"))
@recording_argument
@json_option
def info(recording: Path, as_json: bool) -> None:
    """
    Show what a recording holds: venues, pairs, time span, tables, gaps, digest.

    Frames that are not sealed yet are included; one line says how many they are, and whether the recording is in
    progress.
    """
    from recordings.queries.remarks import remarks
    from recordings.recording import Recording

    opened = Recording.open(recording)
    values = summary(opened)
    try:
        played = opened.for_summary()
        unread = [] if played.tail is None else [*played.tail.missing, *played.tail.unreadable]
        values["remarks"] = [*unread, *remarks(played)]
    except RecordingError as exc:
        values["problem"] = str(exc)
    write_summary(values, as_json)
    if "problem" in values:  # what the manifest says is worth reading all the same
        raise RecordingError(values["problem"])


def summary(opened: Recording) -> dict[str, Any]:
    """
    What a recording holds, in the order people ask for it.

    Returns:
        What `tickdeck info --json` prints: `states` counts the files from which recording goes on and seeks begin, and
        their `share` of the tables; `small_segments` says why compacting would pay, and is empty where it would not.
        `gaps` is null, and `problem` says why, where the events cannot be trusted. `unsealed` is null where all is
        sealed. Of journals above `recordings.recording.SUMMARY_BYTES` only the frames are counted: `is_played` is false
        then, and pairs, messages, gaps and counts are those of what is sealed. Of the result of a run `run` says what was
        run and what came of it.
    """
    from recordings.care.compacting import small_segments
    from recordings.queries.gaps import find_gaps, lost_connections

    folder, manifest = opened.path, opened.manifest
    gaps, lost, problem, unsealed, played = None, None, None, None, opened.sealed_part()
    try:
        unsealed, played = opened.unsealed(), opened.for_summary()
        gaps, lost = find_gaps(played).height, lost_connections(played)
    except RecordingError as exc:
        problem = str(exc)
    of_tail = None
    try:
        if played.tail is not None:
            unsealed, of_tail = played.tail.unsealed, played.tail.summary  # it may have grown since
    except RecordingError as exc:
        problem = problem or str(exc)
    tables: dict[str, dict[str, int]] = {}
    for segment in manifest.segments:
        for name, file in segment.tables.items():
            entry = tables.setdefault(name, {"rows": 0, "bytes": 0})
            entry["rows"] += file.rows
            entry["bytes"] += file.bytes
    firsts = [segment.ts_recv_first for segment in manifest.segments]
    lasts = [segment.ts_recv_last for segment in manifest.segments]
    symbols, counts = manifest.symbols, Counter(manifest.counts)
    if unsealed is not None and unsealed.since_ns is not None and unsealed.until_ns is not None:
        firsts.append(unsealed.since_ns)
        lasts.append(unsealed.until_ns)
    if of_tail is not None:
        symbols = {**symbols, **of_tail.symbols}
        counts.update(of_tail.counts)
    keys = {PairKey(name.partition("/")[0], pair) for name, pair in symbols.items()}
    if unsealed is not None and of_tail is None:  # what was asked for is all that is known of them
        keys |= {PairKey(source.venue, pair) for source in manifest.sources for pair in source.pairs}
    first, last = min(firsts, default=None), max(lasts, default=None)
    result: dict[str, Any] = {
        "recording": str(folder),
        "status": manifest.status,
        "origin": manifest.origin,
        "format_version": manifest.version_read,
        "software": manifest.software,
        "venues": [source.venue for source in manifest.sources],
        "pairs": named(keys),
        "instruments": [{"venue": key.venue, "trading_pair": key.trading_pair} for key in sorted(keys)],
        "first": format_ns(first) if first is not None else None,
        "last": format_ns(last) if last is not None else None,
        "seconds": (last - first) / NS_PER_S if first is not None and last is not None else 0.0,
        "frames": sum(segment.frame_count for segment in manifest.segments) + (unsealed.frame_count if unsealed else 0),
        "messages": sum(segment.message_count for segment in manifest.segments)
        + (of_tail.message_count if of_tail else 0),
        "segments": len(manifest.segments),
        "unsealed": None if unsealed is None else _unsealed(unsealed, is_played=played is opened),
        "gaps": gaps,
        "connections_lost": lost,
        "counts": dict(sorted(counts.items())),
        "imprecise_values": sum(segment.imprecise_values for segment in manifest.segments),
        "tables": tables,
        "states": _states(manifest, sum(table["bytes"] for table in tables.values())),
        "small_segments": small_segments(manifest.segments),
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
    if manifest.is_result:
        from replay.results.run_info import read_run

        run = read_run(manifest.run, str(folder))
        result["run"] = {
            "strategy": run.strategy,
            "parameters": dict(run.parameters),
            "net_profit": {account.name: f"{account.net:f}" for account in run.accounts},
            "fills": sum(pair.maker_fills + pair.taker_fills for pair in run.pairs),
            "doubtful_time_share": run.doubtful_time_share,
            "log_digest": run.log_digest,
        }
    if problem is not None:
        result["problem"] = problem
    return result


def _states(manifest: Manifest, table_bytes: int) -> dict[str, Any]:
    """The files from which recording goes on, and seeks begin."""
    from recordings.format.file_names import states_of

    files = states_of(manifest)
    size = sum(file.bytes for file in files)
    return {"files": len(files), "bytes": size, "share": size / table_bytes if table_bytes else None}


def _unsealed(unsealed: Unsealed, *, is_played: bool) -> dict[str, Any]:
    holder = unsealed.work.holder
    return {
        "frames": unsealed.frame_count,
        "since": format_ns(unsealed.since_ns) if unsealed.since_ns is not None else None,
        "journals": unsealed.journals,
        "bytes": unsealed.journal_bytes,
        "is_recorded": not unsealed.work.is_left and not unsealed.work.is_over,
        "process": holder.pid if holder is not None else None,
        "is_played": is_played,
        "text": str(unsealed),
    }


def write_summary(values: dict[str, Any], as_json: bool) -> None:
    """Print a summary as JSON, or laid out for people."""
    from recordings.format.manifest import CHECKSUM_VERSION

    if as_json:
        say_json(values)
        return
    unchecked = "" if values["format_version"] >= CHECKSUM_VERSION else ", unchecked: format version 1 has no checksums"
    segments = counted(values["segments"], "segment")
    lines = [
        (
            "recording",
            f"{values['recording']} ({_status(values)}, {values['origin']}, {segments}{unchecked})",
        ),
        ("venues", ", ".join(values["venues"])),
        ("pairs", some(values["pairs"], _PAIRS_SHOWN) or "-"),
        ("from", values["first"] or "-"),
        ("to", f"{values['last'] or '-'} ({values['seconds']:,.3f} s)"),
        ("frames", f"{values['frames']:,}, messages {values['messages']:,}"),
    ]
    if "run" in values:
        lines.insert(1, ("run", _run(values["run"])))
    unsealed = values["unsealed"]
    if unsealed is not None:
        where = (
            f" ({counted(unsealed['journals'], 'journal')}, {unsealed['bytes']:,} bytes)"
            if unsealed["journals"]
            else ""
        )
        lines.append(("  unsealed", f"{unsealed['text']}{where}"))
    for name, table in values["tables"].items():
        lines.append((f"  {name}", f"{counted(table['rows'], 'row')}, {table['bytes']:,} bytes"))
    states = values["states"]
    if states["files"]:
        share = f" ({states['share']:.1%} of the tables)" if states["share"] is not None else ""
        lines.append(("  states", f"{counted(states['files'], 'file')}, {states['bytes']:,} bytes{share}"))
    if values["gaps"] is None:
        lines.append(("gaps", "not known"))
    elif values["gaps"]:
        lines.append(("gaps", f"{values['gaps']:,}"))
    counts = {**values["counts"], "connections_lost": values["connections_lost"]}
    for name, text in (
        ("trades_history", "trades that are history"),
        ("trades_duplicate", "trades seen before"),
        ("connections_lost", "connections lost"),
        ("event_parse_error", "frames that could not be parsed"),
        ("event_quarantined", "coins left out"),
        ("event_clock_step", "steps of the wall clock"),
    ):
        if counts.get(name):
            lines.append((text, f"{counts[name]:,}"))
    if values["imprecise_values"]:
        lines.append(
            ("imprecise", f"{counted(values['imprecise_values'], 'value')} of more than 15 digits (exact in raw)")
        )
    for file in values["inputs"]:
        damaged = f", {file['damaged_lines']:,} damaged" if file["damaged_lines"] else ""
        note = f", {file['note']}" if file["note"] else ""
        lines.append((f"  {file['name']}", f"{counted(file['lines'], 'line')}{damaged}{note}"))
    if unsealed is not None and not unsealed["is_played"]:
        lines.append(
            (
                "note",
                "messages, gaps and notes are of what is sealed; `tickdeck gaps` plays the rest, which takes longer",
            )
        )
    lines += [("note", text) for text in values.get("remarks", ())]
    if values["small_segments"]:
        lines.append(("note", f"{values['small_segments']}: `tickdeck compact {shlex.quote(values['recording'])}`"))
    if unsealed is not None:
        lines.append(
            ("digest", f"{values['digest']} of what is sealed" if values["digest"] else "- (nothing is sealed)")
        )
    else:
        lines.append(("digest", values["digest"] or "-"))
    say_facts(lines)


def _run(run: dict[str, Any]) -> str:
    """What came of a run, in a line."""
    from decimal import Decimal

    from replay.results.result_metrics import money, percent

    nets = "".join(f", net {money(Decimal(net))} {name}" for name, net in run["net_profit"].items())
    doubt = f"{percent(run['doubtful_time_share'])} of time doubtful"
    return f"{run['strategy']}: {counted(run['fills'], 'fill')}{nets}, {doubt}"


def _status(values: dict[str, Any]) -> str:
    """The manifest's word, unless that is what a recorder wrote who has died since."""
    unsealed = values["unsealed"]
    return "not recovered" if unsealed is not None and not unsealed["is_recorded"] else str(values["status"])
