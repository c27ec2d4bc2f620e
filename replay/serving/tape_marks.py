"""
States of served venues at places of the tape that were played, so that a seek to an earlier time is short.

A recording's own states hold normalized books; what is served are the venue's own words, which are in no file. So the
state machines are written down in memory while the tape is played, every so many frames, and a seek begins from the
newest one before its time. Where they come to more than there is room for, every second one is given up, and the
distance between them doubles.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251  # what is read was written by this process, into memory
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

__all__ = ["Keeper", "Mark", "Place", "TapeMarks", "read_state", "write_state"]

#: Frames between two marks: played silently in less than a tenth of a second.
MARK_FRAMES: Final = 10_000
#: Bytes that all marks of a tape may take.
ROOM: Final = 64 << 20


class Place(NamedTuple):
    """
    How far one recording was played.

    Attributes:
        capture_seq: The first frame that was not.
        reached_ns: Latest receive time of those before it.
    """

    capture_seq: int
    reached_ns: int


class Mark(NamedTuple):
    """
    A place on the tape.

    Attributes:
        reached_ns: Every frame before it was received up to then.
        places: How far each recording was played, by its position; absent for one that has not begun.
        state: State of what is served.
    """

    reached_ns: int
    places: Mapping[int, Place]
    state: bytes


class Keeper(Protocol):
    """What has a state at every place of the tape."""

    def save(self) -> bytes:
        """The state here."""

    def load(self, state: bytes) -> None:
        """Return to a state, from that before the first frame."""


class TapeMarks:
    """
    Marks of a tape, in its order.

    Args:
        frames: Frames between two marks.
        room: Bytes that they may take together.

    Attributes:
        size: Bytes that their states take.
    """

    def __init__(self, frames: int = MARK_FRAMES, room: int = ROOM) -> None:
        self._frames = frames
        self._room = room
        self._marks: list[Mark] = []
        self.size = 0
        self._since = 0

    def __len__(self) -> int:
        return len(self._marks)

    def passed(self, frames: int, reached_ns: int) -> bool:
        """So many more frames were played, up to that time; whether a mark is due."""
        self._since += frames
        return self._since >= self._frames and (not self._marks or reached_ns > self._marks[-1].reached_ns)

    def add(self, mark: Mark) -> None:
        """A mark after all others; it goes again where it takes more than all the room."""
        self._marks.append(mark)
        self.size += len(mark.state)
        self._since = 0
        while self.size > self._room:
            self._marks = self._marks[1::2]
            self.size = sum(len(each.state) for each in self._marks)
            self._frames *= 2

    def before(self, ns: int) -> Mark | None:
        """The newest mark whose frames were all received before that time; None where there is none."""
        place = bisect_left(self._marks, ns, key=lambda mark: mark.reached_ns)
        return self._marks[place - 1] if place else None

    def restart(self) -> None:
        """The tape is somewhere else: frames are counted from there."""
        self._since = 0


def _found(place: int) -> object:
    raise pickle.UnpicklingError(f"part {place} has no owner here")


class _Writer(pickle.Pickler):
    """Writes what parts hold, and of the parts themselves which they are: they refer to each other, and to themselves."""

    def __init__(self, file: io.BytesIO, parts: Sequence[object]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._places = {id(part): place for place, part in enumerate(parts) if not isinstance(part, dict)}

    def reducer_override(self, obj: Any) -> Any:
        """How to write an object."""
        place = self._places.get(id(obj))
        return NotImplemented if place is None else (_found, (place,))


class _Reader(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, parts: Sequence[object]) -> None:
        super().__init__(file)
        self._parts = parts

    def find_class(self, module: str, name: str) -> Any:
        """What a name in the state stands for."""
        if (module, name) == (__name__, _found.__name__):
            return self._parts.__getitem__
        return super().find_class(module, name)


def write_state(parts: Sequence[object], more: object = None) -> bytes:
    """
    What is in objects, whatever they are made of.

    Args:
        parts: Objects that stay the same ones: dicts, or what its `__getstate__` says of another.
        more: Anything that is written down beside it, and may refer to them.
    """
    file = io.BytesIO()
    contents = [part if isinstance(part, dict) else part.__getstate__() for part in parts]
    _Writer(file, parts).dump((contents, more))
    return file.getvalue()


def read_state(state: bytes, parts: Sequence[object]) -> Any:
    """Give the same objects what was in them then; returns what was written beside it."""
    contents, more = _Reader(io.BytesIO(state), parts).load()
    for part, content in zip(parts, contents, strict=True):
        held = part if isinstance(part, dict) else vars(part)
        if held is part:
            held.clear()
        held.update(content)
    return more
