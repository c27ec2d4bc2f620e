"""Fused books into the arrays of `fusion.py`, and out of them: what `BookFusion` exports, and what it restores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from toolkit.books.book_fusion import BookFusion, FusionState
from toolkit.books.orderbook import KeptColumns
from toolkit.kernels.fusion import (
    BEFORE_ALL,
    FORMS,
    HELD_LEVELS,
    NO_TIME,
    SIDE_LEVELS,
    SLOTS,
    UNTIDY_MIN,
    Depth,
    Entry,
    FusedBooks,
    Reach,
    Time,
)
from toolkit.messages import BestQuote, BookSnapshot

__all__ = ["KeptBook", "load_book", "unload_book"]

_Message = BookSnapshot | BestQuote
#: Slots and levels that are left free of a book that is loaded.
_FREE_SLOTS: Final = 8
_FREE_LEVELS: Final = 128


class KeptBook(NamedTuple):
    """
    What of a book is not in the arrays.

    Attributes:
        fusion: The book.
        key: Venue, symbol and pair of its messages.
        forms: Its forms by number.
        fused: Whether each takes part in the book.
        latest: Newest messages of all forms when it was loaded, in their order.
        is_stale: Whether quotes are all that was heard of it; another book that is stale is not held.
        stale_cause: As it was.
    """

    fusion: BookFusion
    key: tuple[str, str, str]
    forms: Sequence[str]
    fused: Sequence[bool]
    latest: Mapping[str, _Message]
    is_stale: bool
    stale_cause: str


def load_book(
    b: FusedBooks, book: int, fusion: BookFusion, key: tuple[str, str, str], forms: Sequence[str], fused: Sequence[bool]
) -> KeptBook | None:
    """
    Copy a book in; None where the arrays cannot hold it, or not all of it.

    Args:
        b: The arrays.
        book: Its number there.
        fusion: The book.
        key: Venue, symbol and pair that its messages have.
        forms: Forms that messages will come of.
        fused: Whether each of these takes part in the book.
    """
    state = fusion.export()
    latest = {form: message for form, message in fusion.latest.items() if form in forms}
    recent = [message for _, _, message in state.recent]
    is_stale = state.is_stale and (state.deepest > 0 or bool(state.stale_forms))
    if is_stale or state.update_id is not None or len(recent) > SLOTS - FORMS - _FREE_SLOTS:
        return None
    if any(message.fused for form, message in fusion.latest.items() if form not in forms):
        return None
    messages = {id(message): message for message in (*latest.values(), *recent)}
    if not all(_is_kept(message, key, forms, fused) for message in messages.values()):
        return None
    sides = (state.bids, state.asks)
    if max(len(columns[0]) for columns in sides) > SIDE_LEVELS - _FREE_LEVELS:
        return None
    for which, columns in enumerate(sides):
        _load_side(b, 2 * book + which, columns)
    times, depths = b.times[book], b.depths[book]
    sure = state.sure_key
    times[Time.NEWEST], depths[Depth.NEWEST] = state.newest_key
    times[Time.SURE], depths[Depth.SURE] = sure or (BEFORE_ALL, -np.inf)
    times[Time.IS_DOUBTED] = sure is not None
    times[Time.GIVEN_UP], depths[Depth.GIVEN_UP] = state.given_up_key
    times[Time.EVENT] = NO_TIME if state.ts_event is None else state.ts_event
    times[Time.RECV], times[Time.LATE], times[Time.COUNT] = state.ts_recv, state.late_count, state.count
    times[Time.RECENT], times[Time.UNTIDY_AT] = len(recent), max(UNTIDY_MIN, 2 * len(recent))
    depths[Depth.DEEPEST] = state.deepest
    b.form_times[book] = NO_TIME
    b.form_times[book, : len(forms)] = [state.form_times.get(form, NO_TIME) for form in forms]
    b.used[book] = 0
    slots: dict[int, int] = {}
    for place, ((ts, depth), cap, message) in enumerate(state.recent):
        slot = slots.setdefault(id(message), len(slots))
        _load_message(b, book, slot, forms.index(message.form), message)
        b.entry[book, slot, Entry.TS] = ts
        b.reach[book, slot, : Reach.CAP + 1] = depth, cap
        b.order[book, place] = slot
        b.used[book, slot] += 1
    b.latest[book] = -1
    for form, message in latest.items():
        number = forms.index(form)
        if id(message) not in slots:
            slots[id(message)] = len(slots)
            _load_message(b, book, slots[id(message)], number, message)
        slot = slots[id(message)]
        b.latest[book, number] = slot
        b.used[book, slot] += 1
    return KeptBook(fusion, key, forms, fused, dict(fusion.latest), state.is_stale, state.stale_cause)


def unload_book(b: FusedBooks, book: int, kept: KeptBook) -> None:
    """Bring a book up to date with the arrays, in which it stays."""
    times, depths = b.times[book].tolist(), b.depths[book].tolist()
    made: dict[int, _Message] = {}

    def message(slot: int) -> _Message:
        if slot not in made:
            made[slot] = _message(b, book, slot, kept)
        return made[slot]

    latest = dict(kept.latest)
    form_times: dict[str, int] = {}
    for number, form in enumerate(kept.forms):
        slot = int(b.latest[book, number])
        if slot >= 0:
            latest[form] = message(slot)
        ts = int(b.form_times[book, number])
        if ts != NO_TIME:
            form_times[form] = ts
    recent = []
    for slot in b.order[book, : times[Time.RECENT]].tolist():
        key = (int(b.entry[book, slot, Entry.TS]), float(b.reach[book, slot, Reach.DEPTH]))
        recent.append((key, float(b.reach[book, slot, Reach.CAP]), message(slot)))
    kept.fusion.restore(
        FusionState(
            _side(b, 2 * book),
            _side(b, 2 * book + 1),
            None if times[Time.EVENT] == NO_TIME else times[Time.EVENT],
            times[Time.RECV],
            None,
            kept.is_stale,
            kept.stale_cause,
            depths[Depth.DEEPEST],
            (times[Time.NEWEST], depths[Depth.NEWEST]),
            recent,
            [],
            times[Time.LATE],
            form_times,
            (times[Time.SURE], depths[Depth.SURE]) if times[Time.IS_DOUBTED] else None,
            times[Time.COUNT],
            (times[Time.GIVEN_UP], depths[Depth.GIVEN_UP]),
        ),
        latest,
    )


def _is_kept(message: _Message, key: tuple[str, str, str], forms: Sequence[str], fused: Sequence[bool]) -> bool:
    """Whether a slot can hold the message, to its last field."""
    if message.form not in forms or message.fused != fused[forms.index(message.form)] or message.ts_event is None:
        return False
    if (message.venue, message.symbol, message.trading_pair) != key or message.ts_event < 0:
        return False
    if isinstance(message, BestQuote):
        sides = (
            (message.bid_price, message.bid_size, message.bid_count),
            (message.ask_price, message.ask_size, message.ask_count),
        )
        return message.update_id is None and all(
            (price is None and size is None and count is None)
            or (price is not None and size and count is not None and count >= 0)
            for price, size, count in sides
        )
    if not message.depth_cap or message.first_update_id is not None or message.last_update_id is not None:
        return False
    counts = (*message.bid_counts, *message.ask_counts)
    sizes = (*message.bid_sizes, *message.ask_sizes)
    return (
        message.prev_update_id is None
        and max(len(message.bid_prices), len(message.ask_prices)) <= HELD_LEVELS
        and len(counts) == len(sizes)
        and all(sizes)
        and min(counts, default=0) >= 0
    )


def _load_side(b: FusedBooks, side: int, columns: KeptColumns) -> None:
    prices, sizes, counts = columns
    levels = len(prices)
    b.levels[side] = levels
    b.price[side, :levels] = prices[::-1]
    b.size[side, :levels] = sizes[::-1]
    b.orders[side, :levels] = [-1 if count is None else count for count in reversed(counts)] if counts else -1


def _side(b: FusedBooks, side: int) -> KeptColumns:
    levels = int(b.levels[side])
    counts = [None if count < 0 else count for count in b.orders[side, :levels][::-1].tolist()]
    return (
        tuple(b.price[side, :levels][::-1].tolist()),
        tuple(b.size[side, :levels][::-1].tolist()),
        tuple(counts) if any(count is not None for count in counts) else (),
    )


def _load_message(b: FusedBooks, book: int, slot: int, form: int, message: _Message) -> None:
    prices: Sequence[float | None]
    sizes: Sequence[float | None]
    counts: Sequence[int | None]
    if isinstance(message, BestQuote):
        prices, sizes = (message.bid_price, message.ask_price), (message.bid_size, message.ask_size)
        counts, cap, bids = (message.bid_count, message.ask_count), 0.0, 1
    else:
        prices, sizes = message.bid_prices + message.ask_prices, message.bid_sizes + message.ask_sizes
        counts = message.bid_counts + message.ask_counts
        cap, bids = float(message.depth_cap or 0), len(message.bid_prices)
    levels = len(prices)
    ts_event = message.ts_event or 0
    b.entry[book, slot] = (
        ts_event,
        ts_event,
        message.ts_recv,
        message.capture_seq,
        message.sub_seq,
        form,
        bids,
        levels - bids,
    )
    b.held_price[book, slot, :levels] = [np.nan if price is None else price for price in prices]
    b.held_size[book, slot, :levels] = [np.nan if size is None else size for size in sizes]
    b.held_count[book, slot, :levels] = [-1 if count is None else count for count in counts]
    low, high = -np.inf, np.inf
    if not cap:
        low, high = -np.inf if prices[0] is None else prices[0], np.inf if prices[1] is None else prices[1]
    else:
        low = b.held_price[book, slot, bids - 1] if bids and bids >= cap else low
        high = b.held_price[book, slot, levels - 1] if levels > bids and levels - bids >= cap else high
    b.reach[book, slot] = -cap, cap, low, high


def _message(b: FusedBooks, book: int, slot: int, kept: KeptBook) -> _Message:
    _, event, recv, seq, sub_seq, form, bids, asks = b.entry[book, slot].tolist()
    levels = bids + asks
    prices = b.held_price[book, slot, :levels].tolist()
    sizes = b.held_size[book, slot, :levels].tolist()
    counts = b.held_count[book, slot, :levels].tolist()
    cap = float(b.reach[book, slot, Reach.CAP])
    head = (*kept.key, event, recv, seq, sub_seq)
    if not cap:
        bid, ask = (
            (None, None, None) if counts[place] < 0 else (prices[place], sizes[place], counts[place])
            for place in (0, 1)
        )
        return BestQuote(*head, kept.fused[form], *bid, *ask)
    return BookSnapshot(
        *head,
        kept.forms[form],
        kept.fused[form],
        int(cap),
        tuple(prices[:bids]),
        tuple(sizes[:bids]),
        tuple(counts[:bids]),
        tuple(prices[bids:]),
        tuple(sizes[bids:]),
        tuple(counts[bids:]),
    )
