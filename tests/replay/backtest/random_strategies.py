"""
Random strategies on random small tapes, from a seed: sizes are small, so that equal ones are frequent.

Every answer is held to what can have happened as it is heard, with a second account in fractions beside the ledger.
"""

from __future__ import annotations

import random
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Any

from replay.backtest.exchange import Exchange
from replay.backtest.gap_policy import GapPolicy
from replay.backtest.market import Market
from replay.backtest.requests import NewOrder, OwnOrder, Response
from replay.ledger.ledger import Ledger, LedgerMarket
from replay.ledger.money import CASH_DECIMALS, Contract, ContractKind, Fees
from replay.market.layout import BUY, ORDER_TRANSITIONS, ReportCode, RequestCode, Role, StateCode, TifCode
from replay.market.rules import Rules
from tests.replay.backtest.market_messages import KEY, Messages
from toolkit.messages import BookDiff, BookSnapshot, EventKind, Message, Trade

CAPITAL = Decimal(1000)
FEES = Fees(maker=Decimal("-0.0001"), taker=Decimal("0.0005"))
_UNIT = 10**CASH_DECIMALS


class RandomLatency:
    """Any length for each request and answer; what a request takes is kept by its number."""

    follows_feed = True

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.entries: list[int] = []
        self.observed = 0

    def observe(self, message: Message) -> None:
        self.observed += 1

    def entry_ns(self, venue: str, code: RequestCode, sent_ns: int) -> int:
        self.entries.append(self._rng.choice([0, 0, 1, 3, 10, 40]))
        return self.entries[-1]

    def response_ns(self, venue: str, code: RequestCode | None, at_ns: int) -> int:
        return self._rng.choice([-5, 0, 0, 1, 7, 30])


def make_tape(rng: random.Random, *, with_gaps: bool, cap: int | None = None) -> list[Message]:
    """
    A book, and some thirty frames of diffs, trades and, perhaps, gaps.

    With a `cap` the book comes as snapshots of so many levels a side, as some venues send it.
    """
    say, now = Messages(), 0
    tape: list[Message] = [say.instrument(0), say.snapshot(0, {99: 3, 98: 2}, {101: 3, 102: 2}, cap=cap)]
    is_lost = False
    for _ in range(rng.randrange(10, 32)):
        now += rng.choice([0, 1, 2, 5, 20])
        kind = rng.random()
        if is_lost and kind < 0.4:
            asks: dict[float, float] = {101: 2, 103: 1}
            tape += [say.event(now, EventKind.GAP), say.snapshot(now, {99: rng.randrange(1, 4)}, asks, cap=cap)]
            is_lost = False
        elif with_gaps and not is_lost and kind < 0.06:
            tape.append(say.event(now, EventKind.STALE))
            is_lost = True
        elif kind < 0.5:
            tape.append(say.trade(now, rng.choice(["buy", "sell"]), rng.randrange(97, 104), rng.randrange(1, 6)))
        elif cap is not None:
            middle = rng.randrange(98, 102)
            below: dict[float, float] = {
                middle - 1 - step: rng.randrange(1, 5) for step in range(rng.randrange(1, cap + 1))
            }
            above: dict[float, float] = {
                middle + 1 + step: rng.randrange(1, 5) for step in range(rng.randrange(1, cap + 1))
            }
            tape.append(say.snapshot(now, below, above, cap=cap))
        else:
            is_bid = rng.random() < 0.5
            level: dict[float, float] = {
                rng.randrange(96, 101) if is_bid else rng.randrange(100, 105): rng.randrange(5)
            }
            tape.append(say.diff(now, bids=level) if is_bid else say.diff(now, asks=level))
    return tape


class RandomStrategy:
    """
    Plays a tape, asks for random things, and checks what comes back.

    Args:
        seed: Seed of the tape, the latencies and the requests.
        compiled: How matching runs.
        cut: How many messages of the tape are played; None: all.
        rules: Rules of matching.

    Attributes:
        log: Every answer in the order of receipt.
        exchange: The exchange.
    """

    def __init__(self, seed: int, *, compiled: bool, cut: int | None = None, rules: Rules | None = None) -> None:
        rng = random.Random(seed)
        self._tape = make_tape(rng, with_gaps=seed % 3 == 0, cap=2 if seed % 5 == 0 else None)[:cut]
        policy = rng.choice([GapPolicy.KEEP, GapPolicy.CANCEL])
        self._rng = random.Random(seed + 1)
        self._latency = RandomLatency(random.Random(seed + 2))
        self.exchange = Exchange(
            [Market(KEY)], rules=rules or Rules(), latency=self._latency, gap_policy=policy, compiled=compiled
        )
        contract = Contract(kind=ContractKind.LINEAR, settle="USD", base="BTC")
        market = LedgerMarket(key=KEY, tick=Decimal(1), lot=Decimal(1), contract=contract, fees=FEES)
        self._ledger = Ledger([market], capital={"USD": CAPITAL})
        self._cash = Fraction(CAPITAL)
        self._position = 0
        self._orders: list[OwnOrder] = []
        self._states: dict[int, StateCode] = {}
        self._heard_fills: dict[int, int] = defaultdict(int)
        self._arrivals: dict[int, int] = {}
        self._received: dict[int, int] = {}
        self._now = 0
        self.log: list[Any] = []

    def run(self, *, closes: bool = True) -> RandomStrategy:
        """Play the tape; at its end, the session's end, unless a longer tape would go on."""
        for message in self._tape:
            self._reach(message.ts_recv)
            self._now = max(self._now, message.ts_recv)
            before = len(self.exchange.fills)
            self.exchange.take(message)
            self.exchange.next_due_ns()
            self._check_paid_for(message, before)
            self._reach(self._now)
            for _ in range(self._rng.choice([0, 0, 1, 1, 2])):
                self._ask(self._now)
            self._reach(self._now)
        if closes:
            for response in self.exchange.close(self._now):
                self._hear(response)
            assert all(order.has_ended for order in self._orders)
            heard = [each for each in self.log if each.code is ReportCode.EXECUTED]
            assert len(heard) == len(self.exchange.fills)
        return self

    def _reach(self, now_ns: int) -> None:
        while (due := self.exchange.next_due_ns()) <= now_ns:
            for response in self.exchange.advance(due):
                assert response.received_ns == due
                self._hear(response)

    def _ask(self, now_ns: int) -> None:
        rng = self._rng
        kind = rng.random()
        if kind < 0.6 or not self._orders:
            is_market = rng.random() < 0.1
            tif = rng.choice([TifCode.GTC, TifCode.GTC, TifCode.POST_ONLY, TifCode.IOC, TifCode.FOK])
            expires = now_ns + rng.randrange(1, 60) if rng.random() < 0.2 and tif in (0, 3) and not is_market else None
            wanted = NewOrder(
                pair=0,
                side=rng.randrange(2),
                tick=0 if is_market else rng.randrange(97, 104),
                lots=rng.randrange(1, 6),
                tif=TifCode.GTC if is_market else tif,
                is_market=is_market,
                reduce_only=rng.random() < 0.15,
                expires_ns=expires,
            )
            order = self.exchange.submit(now_ns, wanted)
            self._orders.append(order)
            self._arrivals[order.order_id] = now_ns + self._latency.entries[-1]
            self._states[order.order_id] = StateCode.UNKNOWN
        elif kind < 0.75:
            self.exchange.cancel(now_ns, rng.choice(self._orders))
        elif kind < 0.92:
            order = rng.choice(self._orders)
            self.exchange.amend(now_ns, order, tick=rng.randrange(97, 104), lots=rng.randrange(1, 6))
        elif kind < 0.96:
            self.exchange.cancel_all(now_ns, rng.choice([-1, 0]))
        else:
            self.exchange.schedule_cancel(now_ns, rng.choice([None, now_ns + rng.randrange(50)]))

    # -- checks ----------------------------------------------------------------------------------------------------

    def _check_paid_for(self, message: Message, before: int) -> None:
        """By one trade or level no more is filled than its size, and nothing while the book is stale."""
        filled = sum(fill.lots for fill in self.exchange.fills[before:])
        if isinstance(message, Trade):
            assert filled <= message.size
        elif isinstance(message, BookDiff):
            assert filled <= sum((*message.bid_sizes, *message.ask_sizes))
        elif isinstance(message, BookSnapshot):
            assert filled <= sum(message.bid_sizes) + sum(message.ask_sizes)
        else:
            assert filled == 0
        for fill in self.exchange.fills[before:]:
            assert fill.role == Role.MAKER
            assert fill.venue_ns == self._now
        best = self.exchange.tracker.book(KEY) if self.exchange.has_market else None
        if best is not None and best.is_stale:
            assert filled == 0

    def _hear(self, response: Response) -> None:
        self.log.append(response)
        assert response.received_ns >= response.venue_ns
        if not response.order_id:
            return
        order = self._orders[response.order_id - 1]
        # Nothing happens to an order before it is there, and nothing about one overtakes.
        assert response.venue_ns >= self._arrivals[order.order_id] or response.code is ReportCode.ENDED
        assert response.received_ns >= self._received.get(order.order_id, 0)
        self._received[order.order_id] = response.received_ns
        before = self._states[order.order_id]
        if response.state is not StateCode.UNKNOWN:
            assert response.state in ORDER_TRANSITIONS[before], (before, response)
            self._states[order.order_id] = response.state
        assert order.state is self._states[order.order_id]
        if response.code is ReportCode.EXECUTED:
            self._execute(response)
        assert order.filled == self._heard_fills[order.order_id]
        if response.code is not ReportCode.ENDED and response.state is not StateCode.UNKNOWN:
            assert order.left + order.filled == order.size

    def _execute(self, response: Response) -> None:
        sign = 1 if response.side == BUY else -1
        if self._orders[response.order_id - 1].reduce_only:
            assert response.lots > 0
        self._heard_fills[response.order_id] += response.lots
        self._position += sign * response.lots
        worth = Fraction(response.tick * response.lots)
        rate = Fraction(FEES.maker if response.role == Role.MAKER else FEES.taker)
        entry = self._ledger.execute(
            0, response.side, response.tick, response.lots, response.role, response.received_ns
        )
        fee = Fraction(entry.fee, _UNIT)
        # Rounded to 8 decimals, of which no such product has more.
        assert fee == worth * rate
        self._cash -= sign * worth + fee
        assert Fraction(entry.cash, _UNIT) == self._cash
        self._ledger.mark(0, 100)
        assert Fraction(self._ledger.equity("USD"), _UNIT) == self._cash + self._position * 100
