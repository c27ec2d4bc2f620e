"""Tapes by hand for money: a market of whole prices, rates and prices of the venue, and a strategy that acts by the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from replay.ledger.ledger import Ledger
from replay.ledger.money import amount
from replay.results.run_record import RunRecord
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy
from replay.strategy.views import OwnFill, OwnOrder
from tests.replay.backtest.market_messages import Messages
from tests.replay.strategy.sessions import Played, play
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Message

HOUR = 3_600 * NS_PER_S
DAY = 24 * HOUR
#: A day's beginning, long after the epoch.
START = 20_000 * DAY

#: What a strategy does at a time.
Deed = tuple[int, Callable[[Context], Any]]


class Market:
    """
    A tape of one pair: best bid 99 and best ask 101, a lot of each, from the start on.

    Args:
        key: The pair.
        instrument: Further fields of its instrument.
        depth: Size of each level.
    """

    def __init__(self, key: PairKey, *, depth: float = 1_000_000, at_ns: int = START, **instrument: Any) -> None:
        self.say = Messages(key)
        self._depth = depth
        self.messages: list[Message] = [
            self.say.event(at_ns, EventKind.SESSION_START, stream=""),
            self.say.instrument(at_ns, **instrument),
        ]
        self.quote(at_ns, 99, 101)

    def quote(self, at_ns: int, bid: float, ask: float) -> None:
        """A book of one level a side."""
        self.messages.append(self.say.snapshot(at_ns, {bid: self._depth}, {ask: self._depth}))

    def rate(self, at_ns: int, *, event_ns: int | None = None, **fields: Any) -> None:
        """Rates and prices of the venue."""
        self.messages.append(self.say.funding(at_ns, event_ns=event_ns, **fields))

    def end(self, at_ns: int) -> list[Message]:
        """The tape, which ends then."""
        return [*self.messages, self.say.event(at_ns, EventKind.SESSION_END, stream="")]


def run(
    messages: Iterable[Message],
    deeds: Sequence[Deed],
    *,
    keys: Sequence[PairKey],
    capital: str = "1000000",
    asset: str = "USD",
    start_ns: int = START,
    **settings: Any,
) -> Played:
    """Play a tape to a strategy that does these things at their times; what it hears is in `heard`."""
    heard: list[tuple[str, Any]] = []

    class Doer(Strategy):
        def on_start(self, ctx: Context) -> None:
            for number, (at_ns, _) in enumerate(deeds):
                ctx.set_timer(str(number), at_ns=at_ns)

        def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
            deeds[int(name)][1](ctx)

        def on_order(self, ctx: Context, order: OwnOrder) -> None:
            heard.append(("order", (order.client_id, str(order.state), order.reason, order.text)))

        def on_fill(self, ctx: Context, fill: OwnFill) -> None:
            heard.append(("fill", (str(fill.side), fill.price, fill.size, fill.fee)))

    given = {asset: Decimal(capital)} if capital else {}
    played = play(Doer, messages, keys=keys, capital=given, start_ns=start_ns, **settings)
    assert played.session.failure is None, played.session.failure
    played.heard = heard
    assert played.record is not None
    check(played.record)
    return played


def check(record: RunRecord) -> None:
    """
    Cash is what the executions, fees, funding and transfers make of the start, exactly, in every account; and what is held of a
    pair is what was bought, less what was sold and the fees in kind.
    """
    ledger = record.ledger
    for account in ledger.accounts.values():
        own = [entry for entry in record.entries if entry.pair in account.pairs]
        worth, fees = sum(entry.worth for entry in own), sum(entry.fee for entry in own)
        in_kind = sum(entry.fee for entry in own if entry.fee_size)
        assert account.cash == account.start - worth - (fees - in_kind) + account.funding + account.transfers
        assert (account.fees, account.fees_in_kind) == (fees, in_kind)
    for place, position in enumerate(ledger.positions):
        own = [entry for entry in record.entries if entry.pair == place]
        assert position.size == sum((-1 if each.side else 1) * each.size - each.fee_size for each in own)


def funded(record: RunRecord) -> list[tuple[float | None, float]]:
    """`(position, amount)` of the funding payments that were heard of."""
    from toolkit.account_messages import FundingPayment

    return [(each.position_size, each.amount) for each in record.messages if isinstance(each, FundingPayment)]


def cash(ledger: Ledger, name: str | None = None) -> Decimal:
    """Cash of an account."""
    return amount(ledger.account(name).cash)
