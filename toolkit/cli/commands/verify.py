"""`tickdeck verify`: whether a recording is what it says it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.options.shared_options import jobs_option, json_option, recording_argument
from toolkit.cli.output.printable import say_error, say_json
from toolkit.cli.output.results import counted, examples, progress_bar, say
from toolkit.errors import RecordingError

if TYPE_CHECKING:
    from recordings.care.verifying import Verification

__all__ = ["verify"]


@click.command(epilog=examples("tickdeck verify tapes/monday", "tickdeck verify tapes/monday --jobs 4"))
@recording_argument
@click.option("--quick", is_flag=True, help="Compare file hashes only: seconds instead of minutes.")
@jobs_option
@json_option
def verify(recording: Path, quick: bool, jobs: int, as_json: bool) -> None:
    """
    Check files, hashes, order and holes, and compare three digests: of the live session, of a replay of the raw frames
    and of a replay of the normalized rows.

    Exits with 0 if the recording is sound, 1 if it is damaged, 2 if it cannot be read.
    """
    from recordings.care.verifying import verify as check
    from recordings.format.manifest import read_manifest
    from recordings.states.compiling_beside import note_of_recording

    try:
        manifest = read_manifest(recording)
        total = sum(segment.frame_count + segment.message_count for segment in manifest.segments)
        if not quick and (note := note_of_recording(manifest)):
            say(note, err=True)
        with progress_bar("verifying", total) as advance:
            result = check(recording, advance, is_quick=quick, jobs=jobs)
    except RecordingError as exc:
        say_error(str(exc))
        raise click.exceptions.Exit(2) from None
    values = {
        "recording": str(recording),
        "sound": result.is_sound,
        "problems": result.problems,
        "notes": result.notes,
        "frames": result.frame_count,
        "messages": result.message_count,
        "unsealed_frames": result.unsealed_count,
        "unsealed_messages": result.unsealed_message_count,
        "files": result.file_count,
        "recorded_digest": result.recorded_digest,
        "live_digest": result.live_digest,
        "raw_digest": result.raw_digest,
        "normalized_digest": result.normalized_digest,
    }
    if as_json:
        say_json(values)
    else:
        say(f"digest recorded    {result.recorded_digest or '-'}")
        if result.live_digest is not None:
            say(f"digest live        {result.live_digest}")
        say(f"digest raw         {result.raw_digest or 'not computed'}")
        say(f"digest normalized  {result.normalized_digest or 'not computed'}")
        for note in result.notes:
            say(f"note: {note}")
        for problem in result.problems:
            say(f"damaged: {problem}")
        verdict = "sound" if result.is_sound else "DAMAGED"
        say(f"{recording}: {verdict} ({_checked(result, is_quick=quick)})")
    if not result.is_sound:
        raise click.exceptions.Exit(1)


def _checked(result: Verification, *, is_quick: bool) -> str:
    """What the verdict is about: what was not played must not be taken for sound."""
    have = "has the hash it was" if result.file_count == 1 else "have the hashes they were"
    files = f"{counted(result.file_count, 'file')} {have} sealed with"
    if is_quick:
        return f"{files}; nothing was played"
    frames = counted(result.frame_count, "frame") if result.raw_digest is not None else "raw frames not played"
    messages = counted(result.message_count, "message") if result.normalized_digest is not None else "rows not played"
    played = f"{frames}, {messages}"
    if result.unsealed_count:
        more = counted(result.unsealed_message_count, "message")
        played += f"; not sealed: {counted(result.unsealed_count, 'frame')}, {more}"
    return f"{played}; {files}" if result.is_sound else played
