"""
Several processes of one module of ours, each with its part of a recording.

Such a module reads its task as one line of JSON from its input, answers with lines of JSON, and ends with its input.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from recordings.storage.child_environment import child_environment, module_command

__all__ = ["PartProcesses", "say"]

_encode = msgspec.json.encode


class _Spoken(Protocol):
    @property
    def is_last(self) -> bool: ...


Answer = TypeVar("Answer", bound=_Spoken)


class PartProcesses(Generic[Answer]):
    """
    A process for each task, so many at a time. A context: none of them outlives the block.

    Args:
        module: Name of the module.
        folder: The recording.
        tasks: Structs, in the order of their parts.
        jobs: How many at a time.
        decode: Reads an answer.
    """

    def __init__(
        self,
        module: str,
        folder: Path,
        tasks: Sequence[msgspec.Struct],
        jobs: int,
        decode: Callable[[bytes], Answer],
    ) -> None:
        self._module = module
        self._folder = folder
        self._tasks = tasks
        self._jobs = jobs
        self._decode = decode
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._said: queue.SimpleQueue[tuple[int, Answer | None]] = queue.SimpleQueue()

    def __enter__(self) -> PartProcesses[Answer]:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running.values():
            process.kill()
        for thread in self._threads:
            thread.join()

    def answers(self) -> Iterator[tuple[int, Answer | None]]:
        """What each says, with the number of its task; None where one said nothing that can be used."""
        waiting = list(range(len(self._tasks)))
        left = len(waiting)
        while left:
            while waiting and len(self._running) < self._jobs:
                self._start(waiting.pop(0))
            number, answer = self._said.get()
            if answer is None or answer.is_last:
                self._running.pop(number, None)
                left -= 1
            yield number, answer

    def _start(self, number: int) -> None:
        try:
            process = subprocess.Popen(
                module_command(self._module, str(self._folder)),
                env=child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # Ctrl-C in a terminal reaches the whole group: this process ends it then.
                start_new_session=True,
            )
        except OSError:  # no process, or no memory for one
            self._said.put((number, None))
            return
        self._running[number] = process
        thread = threading.Thread(target=self._listen, args=(number, process), name=f"part {number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self, number: int, process: subprocess.Popen[bytes]) -> None:
        last: Answer | None = None
        with process, contextlib.suppress(OSError, msgspec.DecodeError):
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write(_encode(self._tasks[number]) + b"\n")
                process.stdin.flush()
                for line in process.stdout:
                    last = self._decode(line)
                    if last.is_last:
                        break
                    self._said.put((number, last))
            process.kill()
        self._said.put((number, last if last is not None and last.is_last else None))


def say(answer: msgspec.Struct) -> None:
    """Of such a process: its next answer."""
    sys.stdout.buffer.write(_encode(answer) + b"\n")
    sys.stdout.buffer.flush()
