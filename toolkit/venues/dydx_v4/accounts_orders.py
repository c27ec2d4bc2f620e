"""
What is remembered of an order, and what a word about it means beside that.

The venue's id of an order is a hash of its subaccount, its owner's number, its market and its flags. Who uses a
number again gets the id again, so an id may stand for several orders, one after the other. Which of them a word or a
fill is about is known by what the venue gives: the block an order was taken in at, its last block or time, and else the
block of the word.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from toolkit.account_messages import TERMINAL_ORDER_STATES, OrderState
from toolkit.messages import Side
from toolkit.venues.dydx_v4 import accounts_wire as wire
from toolkit.venues.dydx_v4.accounts_status import STATUSES, order_state
from toolkit.venues.dydx_v4.wire import time_ns

__all__ = ["OrderMemory", "Source", "is_another", "is_behind", "learn", "merged", "says_more", "successor"]

#: Where an order was read: a change of it, the list after a subscribe, or a REST reply, which lags both.
Source = Literal["stream", "snapshot", "rest"]

#: So many starts of orders with one id are remembered, for fills that come late.
STARTS_MAX: Final = 32
#: No block is higher.
HEIGHT_MAX: Final = 2**53


class OrderMemory(msgspec.Struct):
    """
    What was last reported of an order.

    Attributes:
        ticker: Its market.
        facts: Everything that makes a word about it news.
        state: State as it is for us: a cancel under way stays one until it has ended.
        side: Side; None while the venue has not said.
        size: Size; None while the venue has not said.
        filled: Size that is filled in blocks, as the venue says.
        price: Limit price.
        good_til: The last block that may hold it; None for one that does not end with a block.
        good_til_time: The last time at which a block may hold it, ns; None for one that ends with a block.
        created: Block it was taken in at; None where the venue does not say.
        height: Block of the newest word about it; None where it is not known.
        reason: Why it was removed.
        is_short_term: Whether its end is a block.
        is_inferred: Whether the venue has not said that it ended, but the height of the chain.
        generation: How many orders had the id before.
        source: Where its last word was read.
        ended: Block of the word that it ended; None where it is not known.
        told: Sum of its fills that were reported.
        ahead: Sum of those that were reported as of the next order of its id, before that one was seen.
        ahead_from: The first block of these; 0 for none.
        ahead_to: The last one.
        first_seq: The frame of its first word by the stream; 0 if that was the answer to a request.
        starts: Blocks from which on the id stood for another order, ascending, up to this one; the newest ones.
    """

    ticker: str
    facts: tuple[str | float | int | None, ...] = ()
    state: OrderState = OrderState.OPEN
    side: Side | None = None
    size: float | None = None
    filled: float | None = None
    price: float | None = None
    good_til: int | None = None
    good_til_time: int | None = None
    created: int | None = None
    height: int | None = None
    reason: str = ""
    is_short_term: bool = False
    is_inferred: bool = False
    generation: int = 0
    source: Source = "rest"
    ended: int | None = None
    told: float = 0.0
    ahead: float = 0.0
    ahead_from: int = 0
    ahead_to: int = 0
    first_seq: int = 0
    starts: list[int] = []

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL_ORDER_STATES

    def is_decided(self, height: int) -> bool:
        """Whether it is known which order of that id a fill in that block is of: no later word can tell otherwise."""
        return not self.facts or self.height is None or height <= self.height

    def is_past(self, height: int) -> bool:
        """Whether it had ended before that block."""
        last = self.good_til if self.is_short_term else None
        end = self.ended if self.is_done and not self.is_inferred else last
        return any(block is not None and height > block for block in (last, end))

    def generation_at(self, height: int | None) -> int:
        """Which order the id stood for in that block, of those that were seen; this one where no block is given."""
        if height is None:
            return self.generation
        return self.generation - len(self.starts) + bisect_right(self.starts, height)

    def generation_of(self, row: wire.Fill) -> int:
        """
        Which order of that id a fill is of.

        One more than the last for one that was not seen yet, negative for one before the first that was.
        """
        height = row.createdAtHeight
        is_next = self.is_past(height)
        generation = self.generation_at(height)
        if not is_next and generation < self.generation:
            return generation
        told = round(self.told + row.size, 9)
        if not is_next and not self._may_have(row, told):
            if height <= (self.height or HEIGHT_MAX):
                return generation - 1
            is_next = True
        if is_next:
            self.ahead = round(self.ahead + row.size, 9)
            self.ahead_from, self.ahead_to = min(self.ahead_from or height, height), max(self.ahead_to, height)
            return self.generation + 1
        self.told = told
        return generation

    def _may_have(self, row: wire.Fill, told: float) -> bool:
        """Whether a fill in its time can be its, by what is filled of it with that: not what was of another side."""
        if self.side is not None and row.side in wire.SIDES and wire.SIDES[row.side] is not self.side:
            return False
        if self.is_done and not self.is_inferred and self.filled is not None and told > self.filled:
            return False
        # One of short term may have been replaced by a larger one.
        return self.is_short_term or not self.size or told <= self.size


def is_another(row: wire.Order, known: OrderMemory, source: Source, height: int | None, chain: int) -> bool:
    """
    Whether a word is about a later order than the known one of the same id.

    Args:
        row: The word.
        known: Memory of the known order.
        source: Where it was read.
        height: Block of the frame or snapshot that has it; None for a REST reply and where it is not said.
        chain: Height of the chain, as far as it is known.
    """
    is_short_term = _is_short_term(row, known)
    if row.createdAtHeight is not None and known.created is not None and row.createdAtHeight != known.created:
        return row.createdAtHeight > known.created
    if row.side is not None and known.side is not None and wire.SIDES.get(row.side) is not known.side:
        return True
    # A short-term order is created, there, by its first fill.
    if not is_short_term and (row.createdAtHeight or 0) > (known.height or HEIGHT_MAX):
        return True
    if not known.facts:
        # Fills alone were seen: not those of an order that has none yet.
        is_fresh = source == "stream" and row.totalFilled == 0 and height is not None
        return is_fresh and known.height is not None and (height or 0) > known.height
    word = row.updatedAtHeight if row.updatedAtHeight is not None or source == "rest" else height
    is_later = word is not None and known.height is not None and word > known.height
    if (
        not is_short_term
        and is_later
        and (row.totalFilled or 0.0) < (known.filled or 0.0)
        and row.totalFilled is not None
    ):
        return True  # what is filled stays filled
    if not is_short_term and is_later and (_differ(row.size, known.size) or _differ(row.price, known.price)):
        return True  # a long-term order is not changed, but replaced
    has_passed = known.good_til is not None and known.good_til < chain
    if row.totalFilled is not None and row.totalFilled < (known.filled or 0.0):
        has_passed = True
    if not (known.is_done or (is_short_term and has_passed)):
        return False
    is_after = source == known.source == "stream"
    is_end = STATUSES.get(row.status) in TERMINAL_ORDER_STATES
    if is_short_term:
        if row.goodTilBlock is None:
            return False
        if known.good_til is None:
            return is_after and not is_end
        return row.goodTilBlock > known.good_til
    until = time_ns(row.goodTilBlockTime) if row.goodTilBlockTime is not None else None
    if until is not None and known.good_til_time is not None and until > known.good_til_time:
        return True
    if is_end and (row.totalFilled, row.size) == (known.filled, known.size):
        return False
    if word is not None and known.height is not None:
        # Frames of one connection come in the order of what they say, also within a block; REST may be ahead of them.
        return is_later or (word == known.height and is_after and not is_end)
    return is_after and not is_end


def is_behind(row: wire.Order, known: OrderMemory, source: Source, height: int | None) -> bool:
    """Whether a word is older than what is known, or about an order that had the id before; as for `is_another`."""
    if row.goodTilBlock is not None and known.good_til is not None and known.is_short_term:
        # An id that is used again needs a later one, and so does an order that is replaced.
        if row.goodTilBlock < known.good_til:
            return True
        if source != "rest":
            return False
    if source != "rest":
        # The stream keeps its order, but REST may have been ahead of it.
        return height is not None and known.created is not None and not known.is_short_term and height < known.created
    if known.facts and (row.updatedAtHeight or HEIGHT_MAX) < (known.height or 0):
        return True
    if not known.starts or (row.goodTilBlock is not None and row.goodTilBlock == known.good_til):
        return False
    return any(
        height is not None and height < known.starts[-1] for height in (row.createdAtHeight, row.updatedAtHeight)
    )


def successor(row: wire.Order, known: OrderMemory, height: int, waiting: Iterable[int] = ()) -> OrderMemory:
    """
    What is known of the next order of an id, before its first word.

    Args:
        row: First word of the new order.
        known: Memory of the order before it.
        height: The chain's.
        waiting: The blocks of fills of the id that were not reported yet.
    """
    start = row.createdAtHeight if row.createdAtHeight is not None else height
    if row.createdAtHeight is None and row.totalFilled and known.height is not None:
        # It has fills that were not reported: some time after the last word about the one before.
        start = known.height + 1
    if row.createdAtHeight is None and known.good_til is not None:
        start = min(start, known.good_til + 1)  # no fill of the one before can be later
    # Fills after the end of the one before were of another, never seen, if all that were reported or some that were
    # not are from before this one was taken in.
    between = [block for block in waiting if known.is_past(block) and block < start]
    if known.ahead_to and start > known.ahead_to:
        between.append(known.ahead_from)
    is_second = bool(between)
    starts = list(known.starts)
    for each in [min(between), start] if is_second else [start]:
        starts.append(max([each, *starts]))
    return OrderMemory(
        row.ticker,
        generation=known.generation + (2 if is_second else 1),
        starts=starts[-STARTS_MAX:],
        told=0.0 if is_second else known.ahead,
    )


def merged(row: wire.Order, known: OrderMemory, source: Source, height: int | None) -> OrderMemory:
    """What is known of an order with that word about it; arguments as for `is_another`."""
    good_til = row.goodTilBlock if row.goodTilBlock is not None else known.good_til
    until = time_ns(row.goodTilBlockTime) if row.goodTilBlockTime is not None else known.good_til_time
    # One that lives and has a later last block was replaced.
    is_replaced = bool(known.facts) and not known.is_done and (good_til or 0) > (known.good_til or 0)
    size = row.size if row.size is not None else known.size
    filled = row.totalFilled if row.totalFilled is not None or is_replaced else known.filled
    state = order_state(row.status, row.reason, filled, size, known.state)
    reason = row.reason
    if known.state is OrderState.PENDING_CANCEL and state not in TERMINAL_ORDER_STATES and not is_replaced:
        # A word that was under way when it was dropped, or a fill in a block, does not bring it back.
        state, reason = known.state, reason or known.reason
    price = row.price if row.price is not None else known.price
    updated = row.updatedAt.isoformat() if row.updatedAt is not None else None
    word = row.updatedAtHeight if row.updatedAtHeight is not None or source != "stream" else height
    is_short_term = _is_short_term(row, known)
    starts = known.starts
    if row.createdAtHeight is not None:
        starts = [*starts[:-1], row.createdAtHeight]
    elif not starts and not known.facts and row.totalFilled == 0 and source == "stream":
        # Not filled yet: what was filled before was another one.
        starts = [height] if height is not None else []
    return OrderMemory(
        ticker=row.ticker,
        facts=(row.status, row.reason, filled, size, price, row.triggerPrice, good_til, updated),
        state=state,
        side=wire.SIDES[row.side] if row.side is not None else known.side,
        size=size,
        filled=filled,
        price=price,
        good_til=good_til,
        good_til_time=until,
        created=row.createdAtHeight if row.createdAtHeight is not None else known.created,
        height=known.height if word is None else max(word, known.height or 0),
        reason=reason,
        is_short_term=is_short_term,
        is_inferred=False,
        generation=known.generation,
        source=source,
        ended=word if state in TERMINAL_ORDER_STATES else None,
        told=known.told,
        ahead=known.ahead,
        ahead_from=known.ahead_from,
        ahead_to=known.ahead_to,
        first_seq=known.first_seq,
        starts=starts,
    )


def learn(row: wire.Order, known: OrderMemory) -> None:
    """Remember of a word that is no news what others may not have said."""
    if row.createdAtHeight is not None and known.created is None:
        known.created = row.createdAtHeight
        known.starts = [*known.starts[:-1], row.createdAtHeight]


def says_more(new: OrderMemory, known: OrderMemory, source: Source) -> bool:
    """Whether a word about an order is not what is known already, nor older."""
    if new.facts == known.facts:
        return False
    if known.is_done and not new.is_done:
        # That it had ended was said by the height of the chain alone, and it was filled later.
        return known.is_inferred and source == "stream" and (new.filled or 0.0) > (known.filled or 0.0)
    if source == "rest":
        is_end = new.is_done and (not known.is_done or (known.is_inferred and new.state is not known.state))
        return is_end or (new.filled or 0.0) > (known.filled or 0.0)
    return True


def _differ(new: float | None, known: float | None) -> bool:
    return new is not None and known is not None and new != known


def _is_short_term(row: wire.Order, known: OrderMemory) -> bool:
    return row.is_short_term or (row.orderFlags is None and known.is_short_term)
