"""`tickdeck recover`: heal a recording whose recorder died."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.cli.options.shared_options import json_option, recording_argument
from toolkit.cli.output.printable import say_json
from toolkit.cli.output.results import counted, examples, say
from toolkit.cli.process import folder_lock
from toolkit.clock import SystemClock, format_ns

__all__ = ["recover"]


@click.command(epilog=examples("tickdeck recover tapes/monday"))
@recording_argument
@json_option
def recover(recording: Path, as_json: bool) -> None:
    """
    Seal the journal of a recorder that crashed or was killed.

    Nothing that was flushed is lost, and nothing is deleted: unreadable and half-written files are moved to set-aside/.
    An event states between which times frames may be missing. The next `record` into the folder does the same.
    """
    from recordings.care.recovery import recover as heal
    from recordings.format.manifest import read_manifest

    read_manifest(recording)  # before a lock file is put into a folder that is no recording
    with folder_lock(recording, heals=True):
        result = heal(recording, SystemClock())
    values = {
        "recording": str(recording),
        "status": result.manifest.status,
        "finished_rewrite": result.is_rewrite_finished,
        "sealed_segments": result.sealed_segments,
        "recovered_frames": result.recovered_frames,
        "torn_bytes": result.left_bytes,
        "set_aside": result.set_aside,
        "lost_from": format_ns(result.lost_from) if result.lost_from is not None else None,
        "lost_until": format_ns(result.lost_until) if result.lost_until is not None else None,
    }
    if as_json:
        say_json(values)
        return
    if result.is_rewrite_finished:
        say(f"{recording}: a rewrite that was interrupted is finished")
    elif not result.sealed_segments and not result.set_aside:
        say(f"{recording}: nothing to recover ({result.manifest.status})")
        return
    if result.sealed_segments or not result.is_rewrite_finished:
        say(
            f"{recording}: sealed {counted(result.sealed_segments, 'segment')} with {counted(result.recovered_frames, 'frame')}"
        )
    if result.left_bytes:
        say(f"{result.left_bytes:,} bytes of the journal that could not be read were set aside")
    for name in result.set_aside:
        say(f"set aside: {name}")
    if values["lost_from"]:
        say(f"what came between {values['lost_from']} and {values['lost_until']} may be lost; it is marked as a gap")
