"""
Raw frames played again by several processes, each from a state that was kept on.

A segment whose state before it was kept can be played without those before. That is sound only if this state is the one
which the frames before it lead to; so each process says what it began with and what it came to, and where two that follow
each other differ, nothing of it counts: one process plays everything, and says what is wrong.

`python -m recordings.care.raw_parts FOLDER` reads what it shall play as one line of JSON, and answers with lines: frames
read since the last one, and at the end what came of it. It ends with its input.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from recordings.care.part_processes import PartProcesses, say
from recordings.care.raw_replay import Played, RawReplay
from recordings.format.manifest import Manifest, Segment
from recordings.format.schema import RAW_TABLE
from recordings.recording import Recording
from recordings.states.checkpoints import encode_checkpoint, read_checkpoint
from recordings.states.normalizer import Normalizer
from recordings.storage.child_environment import end_with_input
from toolkit.errors import RecordingError
from toolkit.gc_tuning import rare_collections

__all__ = ["main", "play_in_parts", "state_hash"]

_MODULE: Final = "recordings.care.raw_parts"


class _Task(msgspec.Struct):
    """Segments from place `begin` to `end` of a manifest, and whether their rows are compared."""

    manifest: Manifest
    begin: int
    end: int
    has_rows: bool


class _Answer(msgspec.Struct):
    """What a process says; `began` and `ended` are hashes of the states before and after what it played."""

    done: int = 0
    played: Played | None = None
    began: str = ""
    ended: str = ""

    @property
    def is_last(self) -> bool:
        """Whether it says no more."""
        return self.played is not None


_decode = msgspec.json.Decoder(_Answer).decode


def play_in_parts(replay: RawReplay, jobs: int, advance: Callable[[int], None]) -> Played | None:
    """
    Play all segments by so many processes; None where they have to be played by one, in their order.

    Whatever ends this ends the processes.
    """
    bounds = _bounds(replay.recording.manifest.segments, jobs)
    if len(bounds) < 3:
        return None
    tasks = [_Task(replay.recording.manifest, begin, end, replay.has_rows) for begin, end in pairwise(bounds)]
    with PartProcesses(_MODULE, replay.recording.path, tasks, jobs, _decode) as processes:
        answers: dict[int, _Answer] = {}
        known = None
        for number, answer in processes.answers():
            if answer is None:
                return None  # it could not begin there, or has died
            if answer.played is None:
                advance(answer.done)
                continue
            answers[number] = answer
            known = _known(tasks, answers)
            if known is not None:
                break
    return _joined(known) if known is not None else None


def _bounds(segments: Sequence[Segment], jobs: int) -> list[int]:
    """Places at which parts begin, and the end: where a state was kept, of about the same size."""
    sizes = [segment.tables[RAW_TABLE].bytes for segment in segments]
    share = sum(sizes) / max(jobs, 1)
    bounds, size = [0], 0
    for place, segment in enumerate(segments):
        if place and segment.checkpoint is not None and size >= share * len(bounds) and len(bounds) < jobs:
            bounds.append(place)
        size += sizes[place]
    return [*bounds, len(segments)]


def _known(tasks: Sequence[_Task], answers: dict[int, _Answer]) -> list[_Answer] | None:
    """All that counts, in its order, once that is known: up to the first part after which it ends."""
    found = []
    for number in range(len(tasks)):
        answer = answers.get(number)
        if answer is None or answer.played is None:
            return None
        found.append(answer)
        if answer.played.is_over:
            break
    return found


def _joined(known: Sequence[_Answer]) -> Played | None:
    """What one process would have found; None unless each part began with what the one before it came to."""
    if any(before.ended != after.began for before, after in pairwise(known)):
        return None
    parts = [answer.played for answer in known if answer.played is not None]
    last = parts[-1]
    return Played(
        [problem for part in parts for problem in part.problems],
        sum(part.frame_count for part in parts),
        sum(part.message_count for part in parts),
        last.digest,
        all(part.are_sealed for part in parts),
        last.is_cut,
        last.is_over,
    )


def main(folder: str) -> NoReturn:
    """Play what the first line of the input names, and say what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=_Task)
    end_with_input()
    recording = Recording(Path(folder), task.manifest)
    normalizer = Normalizer.for_sources(task.manifest.sources)
    checkpoint = task.manifest.segments[task.begin].checkpoint
    status = 1
    with contextlib.suppress(RecordingError, BrokenPipeError):  # a state that cannot be read: nothing is said then
        if task.begin and checkpoint is not None:
            read_checkpoint(recording.path, checkpoint, normalizer)
        began = state_hash(normalizer)
        with rare_collections():
            replay = RawReplay(recording, is_comparable=True, has_rows=task.has_rows)
            played = replay.play(task.begin, task.end, lambda done: say(_Answer(done)), normalizer)
        say(_Answer(played=played, began=began, ended=state_hash(normalizer)))
        status = 0
    os._exit(status)


def state_hash(normalizer: Normalizer) -> str:
    """Tells a state from others."""
    return blake2b(encode_checkpoint(normalizer), digest_size=16).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1])
