"""
A recording renormalized by several processes.

What a segment's frames become follows from the state before them, which today's protocols alone can tell. So each process
first passes over all frames before its part, making no rows, which takes a fraction of the time, and then remakes the
segments of its part. A later one passes over more, so its part is smaller. What one came to must be what the next began
with. Where anything is wrong, nothing of it counts: one process remakes everything, and says what is wrong.

`python -m recordings.care.renormalizing_parts FOLDER` remakes one part, in a folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from recordings.care.part_processes import PartProcesses, say
from recordings.care.raw_parts import state_hash
from recordings.care.remade_segments import RemadeSegments, remade_segment
from recordings.care.rewriting import Rewrite
from recordings.format.manifest import Manifest, Segment, TableFile
from recordings.format.schema import RAW_TABLE
from recordings.journal.holes import unbroken
from recordings.reading.raw_frames import WIDE_BATCH, sealed_batches
from recordings.recording import Recording
from recordings.states.checkpoints import is_worth_keeping, write_checkpoint
from recordings.states.compiling_beside import CompilingBeside
from recordings.states.normalizer import Normalizer
from recordings.storage.atomic_files import make_folder, sync_folder
from recordings.storage.child_environment import end_with_input
from recordings.storage.crash_points import this_is
from toolkit.errors import RecordingError
from toolkit.gc_tuning import rare_collections

__all__ = ["main", "remade_in_parts"]

_MODULE: Final = "recordings.care.renormalizing_parts"
#: Time of passing over a frame, of that of remaking it: a third of Hyperliquid's books, more than half of USD-M.
_PASSING: Final = 0.45


class _Task(msgspec.Struct):
    """Segments from place `begin` to `end` of a manifest; new files are made in `staging`, from number `serial` on."""

    manifest: Manifest
    begin: int
    end: int
    serial: int
    staging: str


class _Answer(msgspec.Struct):
    """
    What a process says.

    Attributes:
        done: Frames remade since the last answer.
        made: Entries of the part.
        states: State before each of its segments but the first of all, in its folder.
        began: Hash of the state before the part.
        ended: Hash of that after it.
    """

    done: int = 0
    made: RemadeSegments | None = None
    states: list[TableFile] = []
    began: str = ""
    ended: str = ""

    @property
    def is_last(self) -> bool:
        """Whether it says no more."""
        return self.made is not None


_decode = msgspec.json.Decoder(_Answer).decode


def remade_in_parts(
    recording: Recording, rewrite: Rewrite, jobs: int, advance: Callable[[int], None]
) -> RemadeSegments | None:
    """
    Remake all segments by so many processes; None, with nothing left of it, where one has to.

    Whatever ends this ends the processes.
    """
    manifest = recording.manifest
    bounds = _bounds([segment.tables[RAW_TABLE].bytes for segment in manifest.segments], jobs)
    if len(bounds) < 3:
        return None
    with contextlib.ExitStack() as stack:
        tasks = []
        for begin, end in pairwise(bounds):
            # Nobody else knows the name: a process that outlives this one by a moment puts nothing among other files.
            staging = stack.enter_context(tempfile.TemporaryDirectory(dir=rewrite.staging, prefix="part-"))
            tasks.append(_Task(manifest, begin, end, rewrite.serial, staging))
        answers: dict[int, _Answer] = {}
        with PartProcesses(_MODULE, recording.path, tasks, len(tasks), _decode) as processes:
            for number, answer in processes.answers():
                if answer is None:
                    return None
                if answer.made is not None:
                    answers[number] = answer
                else:
                    advance(answer.done)
        parts = [answers[number] for number in range(len(tasks))]
        if any(before.ended != after.began for before, after in pairwise(parts)):
            return None
        made = _joined(parts)
        for file in _files(made):
            _move(file, [Path(task.staging) for task in tasks], rewrite.staging)
        for place in sorted({(rewrite.staging / file.path).parent for file in _files(made)}):
            sync_folder(place)
        return made


def _bounds(sizes: Sequence[int], jobs: int) -> list[int]:
    """Places at which parts begin, and the end, so that all take about the same time, what they pass over included."""
    total = sum(sizes)
    share = total * _PASSING / (1 - (1 - _PASSING) ** jobs)
    bounds, size, due = [0], 0, share
    for place, one in enumerate(sizes):
        # Where the middle of a segment lies in the next part, so does the segment.
        if place > bounds[-1] and size + one / 2 > due and len(bounds) < jobs:
            bounds.append(place)
            due = size * (1 - _PASSING) + share
        size += one
    return [*bounds, len(sizes)]


def _joined(parts: Sequence[_Answer]) -> RemadeSegments:
    """All parts as one process would have made them: with the states that are worth keeping."""
    segments: list[Segment] = []
    symbols: dict[str, str] = {}
    last = None
    for part in parts:
        if part.made is None:
            continue
        last = part.made
        states = iter(part.states)
        for entry in part.made.segments:
            checkpoint = None
            if segments:
                state = next(states)
                checkpoint = state if is_worth_keeping(segments, state.bytes) else None
            segments.append(msgspec.structs.replace(entry, checkpoint=checkpoint))
        symbols |= part.made.symbols
    assert last is not None, "there are parts"
    return msgspec.structs.replace(last, segments=segments, symbols=symbols)


def _files(made: RemadeSegments) -> Iterator[TableFile]:
    """New files of the manifest."""
    for segment in made.segments:
        yield from (file for file in segment.files if file is not segment.tables[RAW_TABLE])
    if made.resume is not None:
        yield made.resume


def _move(file: TableFile, stagings: Sequence[Path], target: Path) -> None:
    """Out of the folder of the process that made it."""
    for staging in stagings:
        if (staging / file.path).exists():
            make_folder((target / file.path).parent)
            (staging / file.path).replace(target / file.path)
            return
    raise FileNotFoundError(f"no process has made {file.path}")


def main(folder: str) -> NoReturn:
    """Remake what the first line of the input names, and say what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    this_is("part")
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
    end_with_input()
    status = 1
    # What is wrong is said by the one process that remakes everything then.
    with contextlib.suppress(RecordingError, OSError), rare_collections():
        say(_remade_part(Recording(Path(folder), task.manifest), task))
        status = 0
    os._exit(status)


def _remade_part(recording: Recording, task: _Task) -> _Answer:
    segments, staging = recording.manifest.segments, Path(task.staging)
    normalizer = Normalizer.for_sources(recording.manifest.sources)
    made = RemadeSegments(segments=[], symbols={}, resume=None, digest="", versions={})
    states = []
    # Of several processes the first one has compiled code made, if there is none.
    size = sum(segment.tables[RAW_TABLE].bytes for segment in segments) if not task.begin else 0
    with CompilingBeside(normalizer, size) as beside, ThreadPoolExecutor(1) as pool:
        for batch in sealed_batches(recording.path, segments[: task.begin], WIDE_BATCH):
            beside.look()
            for rows in unbroken(batch):
                normalizer.take_all(rows)
        began = state_hash(normalizer)
        for place in range(task.begin, task.end):
            serial = task.serial + place
            if place:
                states.append(write_checkpoint(staging, serial, normalizer))
            entry, symbols = remade_segment(
                recording, segments[place], serial, normalizer, beside, staging, pool, lambda done: say(_Answer(done))
            )
            made.segments.append(entry)
            made.symbols |= symbols
        if task.end == len(segments) and recording.manifest.resume is not None:
            made.resume = write_checkpoint(staging, task.serial + task.end, normalizer)
    made.digest = normalizer.chain.hexdigest()
    made.versions = {venue: protocol.version for venue, protocol in normalizer.protocols.items()}
    return _Answer(made=made, states=states, began=began, ended=state_hash(normalizer))


if __name__ == "__main__":
    main(sys.argv[1])
