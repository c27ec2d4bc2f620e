"""`tickdeck ls`, `renormalize`, `compact`, `prune`: the care of recordings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from toolkit.cli.options.shared_options import jobs_option, json_option, recording_argument
from toolkit.cli.output.printable import say_json
from toolkit.cli.output.results import Output, counted, examples, output_options, progress_bar, say
from toolkit.cli.process import folder_lock
from toolkit.clock import SystemClock

__all__ = ["compact", "ls", "prune", "renormalize"]


@click.command(epilog=examples("tickdeck ls tapes", "tickdeck ls tapes --format csv"))
@click.argument("folder", type=click.Path(path_type=Path), default=Path("tapes"))
@output_options
def ls(folder: Path, output: Output) -> None:
    """List the recordings in a folder: venues, pairs, time span, gaps, size, status."""
    from recordings.catalogue import catalogue

    found = catalogue(folder)
    output.write(
        found.drop("small_segments") if output.is_table else found,
        nothing=f"no recordings in {folder}",
        importance=("recording", "status", "pairs", "gaps", "problem", "last", "frames", "bytes", "venues", "first"),
    )
    if output.is_table and output.path is None:
        for name, why in found.drop_nulls("small_segments").select("recording", "small_segments").iter_rows():
            say(f"{name}: {why}: `tickdeck compact {shlex.quote(str(folder / name))}`")


@click.command(epilog=examples("tickdeck renormalize tapes/monday", "tickdeck renormalize tapes/monday --jobs 2"))
@recording_argument
@jobs_option
@json_option
def renormalize(recording: Path, jobs: int, as_json: bool) -> None:
    """
    Run today's protocol over the raw frames and remake the normalized tables.

    The old tables stay until the new ones are complete. Says whether the messages have changed.
    """
    from recordings.care.renormalizing import renormalize as remake
    from recordings.format.manifest import read_manifest
    from recordings.states.compiling_beside import note_of_recording

    before = read_manifest(recording)
    total = sum(segment.frame_count for segment in before.segments)
    if note := note_of_recording(before):
        say(note, err=True)
    with folder_lock(recording), progress_bar("renormalizing", total) as advance:
        after = remake(recording, advance, jobs=jobs)
    same = before.digest == after.digest
    if as_json:
        _write_json(recording, frames=total, same=same, digest=after.digest, digest_before=before.digest)
        return
    say(f"{recording}: {counted(total, 'frame')}; the messages are {'the same' if same else 'others than before'}")
    say(f"digest {after.digest}" + ("" if same else f", before {before.digest}"))


@click.command(epilog=examples("tickdeck compact tapes/monday", "tickdeck compact tapes/monday --mib 1024"))
@recording_argument
@click.option("--mib", type=click.IntRange(min=1), default=512, show_default=True, help="Raw frames per new segment.")
@jobs_option
@json_option
def compact(recording: Path, mib: int, jobs: int, as_json: bool) -> None:
    """Join small segments into large ones. Rows are copied as they are; the digest stays."""
    from recordings.care.compacting import compact as join
    from recordings.format.manifest import read_manifest

    before = read_manifest(recording)
    total = sum(file.rows for segment in before.segments for file in segment.tables.values())
    with folder_lock(recording), progress_bar("compacting", total) as advance:
        after = join(recording, mib << 20, advance, jobs=jobs)
    if as_json:
        counts = {"segments_before": len(before.segments), "segments": len(after.segments)}
        _write_json(recording, **counts, digest=after.digest)
        return
    say(f"{recording}: {counted(len(before.segments), 'segment')}, now {len(after.segments)}; digest {after.digest}")


@click.command(epilog=examples("tickdeck prune tapes/monday --keep-raw-days 30"))
@recording_argument
@click.option("--keep-raw-days", type=click.FloatRange(min=0), required=True, help="Raw frames younger than this stay.")
@json_option
def prune(recording: Path, keep_raw_days: float, as_json: bool) -> None:
    """
    Remove old raw frames; the normalized tables stay.

    What is pruned can be replayed normalized, but no longer renormalized. The last segment is never pruned.
    """
    from recordings.care.pruning import prune as remove
    from recordings.format.manifest import read_manifest

    read_manifest(recording)  # before a lock file is put into a folder that is no recording
    with folder_lock(recording):
        manifest, freed = remove(recording, keep_raw_days, SystemClock())
    bare = sum("raw" not in segment.tables for segment in manifest.segments)
    if as_json:
        _write_json(recording, freed_bytes=freed, segments=len(manifest.segments), segments_without_raw=bare)
        return
    say(f"{recording}: {freed:,} bytes freed; {bare} of {len(manifest.segments)} segments have no raw frames")


def _write_json(recording: Path, **values: Any) -> None:
    say_json({"recording": str(recording), **values})
