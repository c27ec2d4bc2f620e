"""
The merge of several inputs by time, whatever their items are: lists of messages, or rows of columns.

An input gives batches of items with the merge time of each, which never goes back within it. At equal times the input of
the lowest rank goes first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Reel", "merged"]


class _Sliceable(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, place: slice, /) -> Any: ...


T = TypeVar("T", bound=_Sliceable)


class Reel(Generic[T]):
    """
    One input of the merge, read a batch at a time.

    Args:
        rank: Decides ties.
        position: Number that its batches are marked with.
        batches: Merge times, ascending, and as many items.
        head_ns: A time that is not later than that of its first item.

    Attributes:
        rank: Rank as given.
        position: Position as given.
        head_ns: Merge time of its next item; before a batch is read, a time that is not later.
    """

    def __init__(self, rank: int, position: int, batches: Iterator[tuple[Any, T]], head_ns: int = -1) -> None:
        self.rank = rank
        self.position = position
        self.head_ns = head_ns
        self._batches = batches
        self._keys: Sequence[int] = []
        self._items: T | None = None
        self._index = 0

    @property
    def is_empty(self) -> bool:
        """Whether the next batch must be read first."""
        return self._items is None or self._index == len(self._items)

    def fill(self) -> bool:
        """Read the next batch; False at the end, and then nothing is held any more."""
        self._keys, self._items, self._index = [], None, 0
        batch = next(self._batches, None)
        if batch is None:
            return False
        self._keys, self._items = batch
        self.head_ns = int(self._keys[0])
        return True

    def take_before(self, head_ns: int, rank: int) -> T:
        """The items of the batch that go before another reel's next one."""
        bisect = bisect_right if self.rank < rank else bisect_left
        begin, end = self._index, bisect(self._keys, head_ns, self._index)
        self._index = end
        self.head_ns = int(self._keys[min(end, len(self._keys) - 1)])
        return self._taken(begin, end)

    def take_all(self) -> T:
        """The items of the batch that are left."""
        begin, self._index = self._index, len(self._keys)
        self.head_ns = int(self._keys[-1])
        return self._taken(begin, self._index)

    def _taken(self, begin: int, end: int) -> T:
        assert self._items is not None, "a batch was read"
        taken: T = self._items[begin:end]
        return taken


def merged(reels: list[Reel[T]]) -> Iterator[tuple[int, T]]:
    """The items of all, in order: the position of their reel, and items that follow each other."""
    while reels:
        reel = min(reels, key=lambda reel: (reel.head_ns, reel.rank))
        if reel.is_empty:
            # Its place is only known once it has been read.
            if not reel.fill():
                reels.remove(reel)
            continue
        others = [(other.head_ns, other.rank) for other in reels if other is not reel]
        yield reel.position, reel.take_before(*min(others)) if others else reel.take_all()
