"""
What the kernel works on: arrays, grouped by what they are about; and numbers that it shares with the protocol, which stand
here because compiled code is kept by a hash of the modules that are named after it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "NO_CEILING",
    "RENUMBERED_NS",
    "Columns",
    "Feeds",
    "Instruments",
    "Messages",
    "Run",
    "Scratch",
]

#: An id that is not above all others and a time that is this much newer than all others is no repetition and not late:
#: the venue has restarted its count. An aggregate of 100 ms and its trades differ by less.
RENUMBERED_NS: Final = 5_000_000_000
#: Above every id.
NO_CEILING: Final = 2**63 - 1


class Feeds(NamedTuple):
    """
    Streams by wire name, in a hash table whose length is a power of two, and what is known of each.

    Attributes:
        table: int32, by hash of the name: number of the feed, or -1.
        names: uint8: all names, one after the other.
        name_ends: int64 (feeds + 1).
        kind: int8: 0 where the feed is not to be taken.
        instrument: int32.
        head_ends: int64 (feeds + 1): where the canonical bytes of its messages begin, in `heads`.
        heads: uint8.
        taken: int64: frames taken that its stream was not told of yet.
        last: int64: index of the last of them.
    """

    table: npt.NDArray[np.int32]
    names: npt.NDArray[np.uint8]
    name_ends: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int8]
    instrument: npt.NDArray[np.int32]
    head_ends: npt.NDArray[np.int64]
    heads: npt.NDArray[np.uint8]
    taken: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]


class Instruments(NamedTuple):
    """
    What is known of each instrument.

    Attributes:
        last_id: int64: of the newest diff in the book, or of the newest that waits; -1 while diffs are not to be taken.
        last_ts: int64: its time, ns.
        is_bare: bool: nothing followed the snapshot yet.
        is_waiting: bool: there is no snapshot that diffs follow: the book is that of these diffs alone.
        tell_from: int64: receive time, ns, after which it is told that none has come.
        last_frame: int64: index of the last diff of this run, or -1.
        decimals: int64: of the step of prices.
        step: int64: how many units of the last decimal a step is.
        is_stale: bool: whether the book is.
        crossed: int64: diffs of this run after which the book was crossed.
        told: int64 (instruments, 6): of the range of trades that was added to last the first and last id and where
            the next one begins; newest time of a trade, ns; newest number of a trade and of an aggregate.
        keep_from: int64: monotonic time, ns, from which on diffs are kept for a snapshot that is due.
        cover: float64 (instruments, 2): lowest and highest price that asks for no new snapshot.
        top: float64 (instruments, 4): the last row of `top`, NaN for a side that is empty.
        top_is_stale: int8: of that row; -1 where there was none.
        connections: int8 (instruments, connections): 1 for those that its diffs have come on.
    """

    last_id: npt.NDArray[np.int64]
    last_ts: npt.NDArray[np.int64]
    is_bare: npt.NDArray[np.bool_]
    is_waiting: npt.NDArray[np.bool_]
    tell_from: npt.NDArray[np.int64]
    last_frame: npt.NDArray[np.int64]
    decimals: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]
    is_stale: npt.NDArray[np.bool_]
    crossed: npt.NDArray[np.int64]
    told: npt.NDArray[np.int64]
    keep_from: npt.NDArray[np.int64]
    cover: npt.NDArray[np.float64]
    top: npt.NDArray[np.float64]
    top_is_stale: npt.NDArray[np.int8]
    connections: npt.NDArray[np.int8]


class Columns(NamedTuple):
    """Levels of all diffs of a run, one after the other."""

    price: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]
    mantissa: npt.NDArray[np.int64]
    decimals: npt.NDArray[np.int8]


class Messages(NamedTuple):
    """
    Messages of one kind of a run: diffs, quotes, trades, or changes of the best levels.

    Attributes:
        instrument: int32.
        frame: int64: index of the frame in the batch.
        ts_event: int64: ns; -1 where the venue gives none.
        ids: int64 (messages, 3): `U`, `u`, `pu` of a diff; `u` of a quote; id, -, - of a trade.
        rows: int64 (messages, 2): first row and number of rows of a diff; of them bids in `bids`.
        bids: int64.
        values: float64 (messages, 4): prices and sizes.
        flags: int8 (messages, 2): of a trade: buyer was maker, is a duplicate; of a change: stale, crossed.
        kind: int8: of a diff whether it waits for a snapshot, of a trade whether it is an aggregate.
    """

    instrument: npt.NDArray[np.int32]
    frame: npt.NDArray[np.int64]
    ts_event: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    bids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    flags: npt.NDArray[np.int8]
    kind: npt.NDArray[np.int8]


class Scratch(NamedTuple):
    """
    Memory that is used again for every frame.

    Attributes:
        integers: Integers by key.
        decimals: Decimals by key.
        seen: Flags by key.
        words: uint64: the state of the digest, then what is hashed.
        bytes: uint8: the same memory.
        hash: uint64 (8).
        keys: int64: of a whole side.
        sizes: float64.
    """

    integers: npt.NDArray[np.int64]
    decimals: npt.NDArray[np.float64]
    seen: npt.NDArray[np.int8]
    words: npt.NDArray[np.uint64]
    bytes: npt.NDArray[np.uint8]
    hash: npt.NDArray[np.uint64]
    keys: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.float64]


class Run(NamedTuple):
    """
    Where a run stands.

    Attributes:
        counts: int64 (`kernel_numbers`): diffs, quotes, trades, changes of the best levels, rows of levels, imprecise
            decimals, duplicate trades.
        imprecise: int64 (1): imprecise decimals of one frame.
        needed: int64 (`kernel_numbers`): what a frame needs that found an array full: pages of its instrument's sides, free slots,
            elements of `Scratch.keys`, elements of `Scratch.bytes`, and the number of the instrument.
        is_spot: Whether diffs keep the rules of spot or of futures.
    """

    counts: npt.NDArray[np.int64]
    imprecise: npt.NDArray[np.int64]
    needed: npt.NDArray[np.int64]
    is_spot: bool
