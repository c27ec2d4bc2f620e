"""
The state of books at a moment as messages, after which whoever takes them in is in that state.

For compiled books, which have no checkpoints of their own. Whether the messages do lead to the state is not taken on
trust: books take them in and are compared with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from msgspec.structs import replace

from toolkit.books.orderbook import KeptColumns
from toolkit.books.tracker import OrderBookTracker, PairState, TrackerState
from toolkit.messages import BestQuote, BookDiff, BookSnapshot, Message

__all__ = ["Beginning", "messages_of_state"]


@dataclass(frozen=True, slots=True)
class Beginning:
    """
    Where reading a recording begins, and what was before.

    Attributes:
        segment: The first segment.
        capture_seq: Its first frame that is played.
        messages: Messages that lead to the state of everything before.
    """

    segment: int
    capture_seq: int
    messages: Sequence[Message]


def messages_of_state(state: TrackerState, capture_seq: int) -> list[Message] | None:
    """
    Messages of a frame that lead to a state.

    Args:
        state: Books, instruments and funding.
        capture_seq: Number of the frame.

    Returns:
        The messages; None where there are none that lead to just that state, as of a book that is stale.
    """
    found: list[Message] = [*state.instruments, *state.funding]
    for pair in state.pairs:
        books = _of_pair(pair)
        if books is None:
            return None
        found += books
    numbered: list[Message] = [
        replace(message, capture_seq=capture_seq, sub_seq=place) for place, message in enumerate(found)
    ]
    tracker = OrderBookTracker(checked=True)
    for message in numbered:
        tracker.apply(message)
    reached = {(each.venue, each.trading_pair): each for each in tracker.export().pairs}
    if len(reached) != len(state.pairs):
        return None
    is_same = all(_is_as(reached.get((each.venue, each.trading_pair)), each) for each in state.pairs)
    return numbered if is_same else None


def _of_pair(pair: PairState) -> list[Message] | None:
    """Messages of one pair, in the order in which they take effect."""
    fusion = pair.fusion
    if fusion.is_stale or fusion.stale_forms or pair.lost or len(pair.fused_diffs) > 1:
        return None
    base = _base_of(pair)
    if base is None or not (_has_counts(fusion.bids) and _has_counts(fusion.asks)):
        return None
    # The book of now, in place of the deepest snapshot that was received last: what came since says the same again.
    whole = replace(
        base,
        bid_prices=fusion.bids[0],
        bid_sizes=fusion.bids[1],
        bid_counts=fusion.bids[2],
        ask_prices=fusion.asks[0],
        ask_sizes=fusion.asks[1],
        ask_counts=fusion.asks[2],
    )
    others = [message for message in pair.latest.values() if message.fused and message.form != base.form]
    others += [message for _, _, message in fusion.recent if message.form != base.form and message not in others]
    if any(message.ts_event is None for message in others):
        return None
    found: list[Message] = [message for message in pair.latest.values() if not message.fused]
    ordered: list[BookSnapshot | BestQuote] = sorted([whole, *others], key=_place)
    found += ordered
    if pair.fused_diffs:
        found.append(_no_change(whole, fusion.ts_event, fusion.ts_recv, fusion.update_id))
    return found


def _base_of(pair: PairState) -> BookSnapshot | None:
    """The last snapshot of the form that says all of the book."""
    for message in pair.latest.values():
        if isinstance(message, BookSnapshot) and message.fused and _depth(message) >= pair.fusion.deepest:
            return message
    return None


def _depth(message: BookSnapshot | BestQuote) -> float:
    if isinstance(message, BestQuote):
        return 0.0
    return inf if message.depth_cap is None else float(message.depth_cap)


def _place(message: BookSnapshot | BestQuote) -> tuple[int, float]:
    """By time, then the deeper form first; without a time, which the first of a book alone may be, before all."""
    return (0 if message.ts_event is None else message.ts_event, -_depth(message))


def _has_counts(side: KeptColumns) -> bool:
    """Whether all levels have a number of orders, or none."""
    return not side[2] or None not in side[2]


def _no_change(base: BookSnapshot, ts_event: int | None, ts_recv: int, update_id: int | None) -> BookDiff:
    return BookDiff(
        venue=base.venue,
        symbol=base.symbol,
        trading_pair=base.trading_pair,
        ts_event=ts_event,
        ts_recv=ts_recv,
        capture_seq=base.capture_seq,
        sub_seq=base.sub_seq,
        form=base.form,
        fused=True,
        depth_cap=base.depth_cap,
        bid_prices=(),
        bid_sizes=(),
        bid_counts=(),
        ask_prices=(),
        ask_sizes=(),
        ask_counts=(),
        first_update_id=None,
        last_update_id=update_id,
        prev_update_id=None,
    )


def _is_as(reached: PairState | None, wanted: PairState) -> bool:
    """
    Whether later books depend on the same.

    What is kept to be applied again may be more than is wanted: what was let go of has nothing to say any more. And the
    snapshot that the book of now stands for has other levels.
    """
    base = _base_of(wanted)
    if reached is None or base is None:
        return False

    def told(pair: PairState) -> Any:
        fusion = pair.fusion
        levels, state = (fusion.bids, fusion.asks), (fusion.ts_event, fusion.update_id, fusion.is_stale, fusion.deepest)
        places = (fusion.newest_key, fusion.form_times, fusion.sure_key, fusion.given_up_key)
        latest = {form: _plain(message, base) for form, message in pair.latest.items()}
        return levels, state, places, pair.fused_diffs, latest

    there = [(key, cap, _plain(message, base)) for key, cap, message in reached.fusion.recent]
    kept = [(key, cap, _plain(message, base)) for key, cap, message in wanted.fusion.recent]
    return bool(told(reached) == told(wanted)) and [each for each in there if each in kept] == kept


def _plain(message: BookSnapshot | BestQuote, base: BookSnapshot) -> Any:
    """A message without what is not compared."""
    levels = {}
    if message.form == base.form and isinstance(message, BookSnapshot):
        levels = dict.fromkeys(("bid_prices", "bid_sizes", "bid_counts", "ask_prices", "ask_sizes", "ask_counts"), ())
    return replace(message, capture_seq=0, sub_seq=0, **levels)
