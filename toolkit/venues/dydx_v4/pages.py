"""
Pages of what was missed: REST gives the newest rows first, so they are read backwards until they meet what is known.

Nothing but a block that is known to be reached ends that, not a row that is known: the stream goes on telling of new
rows while older ones are still being read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

import msgspec

__all__ = ["FIELDS", "PAGES_MAX", "PAGE_ROWS", "SHORT_PAGE_ROWS", "Page"]

#: Most rows of a reply, and the default.
PAGE_ROWS: Final = 1000
#: Fewer rows than this may be all there are: it is the least that a page was ever limited to.
SHORT_PAGE_ROWS: Final = 100
#: Pages that are asked for, at most.
PAGES_MAX: Final = 100
#: Numbers in a tag.
FIELDS: Final = 5


class Page(msgspec.Struct):
    """
    A page of rows by block; what is to be known of it travels in the request's tag, so nothing else need remember it.

    Attributes:
        number: Number, from 1.
        goal: Rows in blocks up to this one are known.
        top: The newest block that was missed.
        height: Last block that it covers; 0 for the newest.
        part: Part of that request's rows, from 1: one block may hold more than a page.
        is_cut: Whether there are more pages than are asked for.
    """

    number: int
    goal: int
    top: int = 0
    height: int = 0
    part: int = 1
    is_cut: bool = False

    @classmethod
    def parse(cls, text: str, goal: int) -> Self:
        """From part of a tag; the first page, towards `goal`, where that says no more."""
        numbers = [int(word) for word in text.split(":") if word.isascii() and word.isdigit() and len(word) < 17]
        if len(numbers) != FIELDS:
            return cls(1, goal)
        number, goal, top, height, part = numbers
        return cls(number, goal, top, height, part)

    @property
    def text(self) -> str:
        """For a tag."""
        return f"{self.number}:{self.goal}:{self.top}:{self.height}:{self.part}"

    def following(self, heights: Sequence[int], new_count: int) -> Page | None:
        """
        The page after this one; None if nothing is missing any more, and if there are too many.

        Args:
            heights: The blocks of its rows.
            new_count: How many of them were not known.
        """
        oldest = min(heights, default=0)
        if oldest <= self.goal:
            return None
        is_same = oldest == self.height
        if is_same and not new_count and self.part > 1:
            return None  # a whole page of that block may be known; two are not
        if self.number >= PAGES_MAX:
            self.is_cut = True
            return None
        return Page(self.number + 1, self.goal, self.top, oldest, self.part + 1 if is_same else 1)
