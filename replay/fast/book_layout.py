"""
The arrays in which compiled code keeps fused books.

A price is a whole number of steps (`BookUnits` chooses them) and a size any whole number of which 0 is none: lots, or the
bits of a float64, which nothing here computes with. Side `2 * pair` has the bids of a pair, `2 * pair + 1` its asks.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from recordings.columns.column_batch import NO_TIME
from toolkit.kernels.levels import Store, make_store, more_room, widen_store

__all__ = [
    "BEYOND",
    "BOOK",
    "FORMS_MAX",
    "NO_STEP",
    "UNCAPPED",
    "Books",
    "Seen",
    "make_books",
    "widen_pool",
    "widen_recent",
    "widen_store_of",
]

#: In place of the price or size that a quote does not have.
NO_STEP: Final = -1
#: The depth of a form that is not capped; more than any cap.
UNCAPPED: Final = 1 << 40
#: Beyond every price: also of those that are counted by their bits, where 2.0 is 2**62 already.
BEYOND: Final = (1 << 63) - 1
#: Forms of books that there are in a tape, of all venues together, at most: they are the bits of a word.
FORMS_MAX: Final = 63


class Seen:
    """Bits of what was heard of a form of a pair's book."""

    #: A snapshot or quote.
    WHOLE = 1
    #: The newest of them takes part in the fused book.
    FUSED = 2
    #: Diffs that are the fused book.
    DIFFS = 4
    #: Diffs of another book.
    APART = 8


BOOK: Final = np.dtype(
    [
        ("newest_ts", "i8"),  # place of the newest message: its time,
        ("newest_cap", "i8"),  # and the depth of its form
        ("given_ts", "i8"),  # likewise, of the newest that is not kept though something may come of it
        ("given_cap", "i8"),
        ("sure_ts", "i8"),  # likewise, of the newest before one whose time is doubted
        ("sure_cap", "i8"),
        ("is_doubted", "i8"),
        ("deepest", "i8"),  # most levels of a side that any form has; 0: no snapshot so far
        ("count", "i8"),  # messages in this round
        ("recent", "i8"),  # how many are kept
        ("untidy_at", "i8"),
        ("pool", "i8"),  # levels of the kept ones that are in use
        ("stale_forms", "u8"),  # bit by the place of a form
        ("is_stale", "i8"),
        ("is_shared", "i8"),  # its levels are those that the matching core has, and none are here
        ("late", "i8"),  # messages that came too late to be put in their place
        ("ts_event", "i8"),
        ("ts_recv", "i8"),
    ],
    align=True,
)
#: A message that may be applied again, in the order of their places.
RECENT: Final = np.dtype(
    [
        ("ts", "i8"),  # its place,
        ("key_cap", "i8"),  # of which this is the depth of its form,
        ("cap", "i8"),  # as a rule; of a message without a time that of the newest one
        ("low", "i8"),  # the lowest bid that it settles, and all better ones,
        ("high", "i8"),  # and the highest ask
        ("first", "i8"),  # its levels in the pool
        ("bids", "i8"),
        ("asks", "i8"),
        ("is_quote", "i8"),
        ("form", "i8"),
    ],
    align=True,
)


class Books(NamedTuple):
    """Everything between two messages."""

    store: Store
    #: Numbers of orders, by slot and step; `NO_COUNT` where they are not known.
    counts: npt.NDArray[np.int32]
    pairs: npt.NDArray[np.void]
    #: The newest time of each form of a pair; `NO_TIME` before it was heard.
    form_times: npt.NDArray[np.int64]
    seen: npt.NDArray[np.uint8]
    recent: npt.NDArray[np.void]
    pool_steps: npt.NDArray[np.int64]
    pool_sizes: npt.NDArray[np.int64]
    pool_counts: npt.NDArray[np.int32]


def make_books(pairs: int, *, pages: int = 64, slots: int = 256, recent: int = 64, pool: int = 256) -> Books:
    """Empty books, which are stale."""
    rows = np.zeros(pairs, BOOK)
    forget(rows)
    return Books(
        make_store(2 * pairs, pages, slots, np.int64),
        np.zeros((slots, 64), np.int32),
        rows,
        np.full((pairs, FORMS_MAX + 1), NO_TIME, np.int64),
        np.zeros((pairs, FORMS_MAX + 1), np.uint8),
        np.zeros((pairs, recent), RECENT),
        np.zeros((pairs, pool), np.int64),
        np.zeros((pairs, pool), np.int64),
        np.zeros((pairs, pool), np.int32),
    )


def forget(rows: Any) -> None:
    """Become as new, whatever rows of `BOOK` these are."""
    for name in BOOK.names or ():
        rows[name] = 0
    rows["newest_ts"] = rows["given_ts"] = rows["ts_event"] = NO_TIME
    rows["newest_cap"] = rows["given_cap"] = UNCAPPED
    rows["untidy_at"] = 24
    rows["is_stale"] = 1


def widen_store_of(books: Books) -> Books:
    """The same with twice the room for levels, of that which is taken up."""
    before = len(books.store.bits)
    pages, slots = more_room(books.store)
    store = widen_store(books.store, books.store.page.shape[0], pages, slots)
    counts = np.zeros((slots, 64), np.int32)
    counts[:before] = books.counts
    return books._replace(store=store, counts=counts)


def widen_recent(books: Books) -> Books:
    """The same with room for twice as many messages that may be applied again."""
    pairs, room = books.recent.shape
    recent = np.zeros((pairs, 2 * room), RECENT)
    recent[:, :room] = books.recent
    return books._replace(recent=recent)


def widen_pool(books: Books) -> Books:
    """The same with room for twice the levels of such messages."""
    wide = []
    for pool in (books.pool_steps, books.pool_sizes, books.pool_counts):
        pairs, room = pool.shape
        more = np.zeros((pairs, 2 * room), pool.dtype)
        more[:, :room] = pool
        wide.append(more)
    return books._replace(pool_steps=wide[0], pool_sizes=wide[1], pool_counts=wide[2])
