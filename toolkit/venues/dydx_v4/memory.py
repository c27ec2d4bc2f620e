"""
Ids that were reported, so that each is reported once: the newest by the chain's height, not those that came last.

After a loss the venue's REST gives what was missed from the newest to the oldest, page by page. A memory that forgets
what came first would lose the ids from before the loss while it takes in those from after it, and tell the rows that
both have in common twice.
"""

from __future__ import annotations

__all__ = ["HELD_MAX", "remember"]

#: While pages are being read nothing is forgotten, up to so many ids.
HELD_MAX = 250_000


def remember(known: dict[str, int], key: str, height: int, limit: int, *, is_held: bool = False) -> None:
    """
    Add an id.

    Args:
        known: Ids with the heights of their blocks; 0 where that is not known, and then the first to come go first.
        key: The id.
        height: Height of its block.
        limit: So many are kept; up to a quarter more until it is worth sorting them.
        is_held: Whether pages of older ones are still to come, which overlap with what is known.
    """
    known[key] = height
    if len(known) <= (HELD_MAX if is_held else limit + limit // 4):
        return
    excess = len(known) - (HELD_MAX * 4 // 5 if is_held else limit)
    for old in sorted(known, key=known.__getitem__)[:excess]:
        del known[old]
