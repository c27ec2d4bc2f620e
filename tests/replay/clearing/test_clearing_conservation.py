"""Whatever happens on margin, with funding, liquidations, transfers and several currencies: no unit comes from nowhere."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.clearing.house_settings import Transfer
from replay.ledger.margin_rules import MarginMode
from replay.ledger.money import SIZE_DECIMALS
from replay.market.layout import BUY
from replay.strategy.context import Context
from replay.strategy.decision_log import LogRow
from replay.strategy.strategy import Strategy, Wakes
from tests.replay.backtest.market_messages import Messages
from tests.replay.strategy.sessions import Played, opened
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey
from toolkit.messages import EventKind, InstrumentKind, Message

HOUR = 3600 * NS_PER_S
START = 20_000 * 24 * HOUR
#: A linear contract and an inverse one, at venues that liquidate in their own ways.
VENUES = {
    "hyperliquid": PairKey("hyperliquid", "BTC-USD"),
    "dydx_v4": PairKey("dydx_v4", "BTC-USD"),
    "binance-usdm": PairKey("binance-usdm", "BTC-USDT"),
}
INVERSE = PairKey("binance-coinm", "BTC-USD_PERP")
#: Whose buyers pay in what they get.
SPOT = PairKey("binance-spot", "BTC-USDT")
_SIZE = 10**SIZE_DECIMALS


def tape(rng: random.Random, keys: list[PairKey]) -> list[Message]:
    """Two markets whose prices walk, with a rate and a mark now and then, and an hour that passes sometimes."""
    says = [Messages(key) for key in keys]
    now, prices = START, [100.0 for _ in keys]
    found: list[Message] = []
    for key, say in zip(keys, says, strict=True):
        fields: dict[str, Any] = (
            {"settle": "BTC", "contract_value": 100.0} if key == INVERSE else {"max_leverage": 20.0}
        )
        if key == SPOT:
            fields = {"kind": InstrumentKind.SPOT}
        found += [
            say.event(now, EventKind.SESSION_START, stream=""),
            say.instrument(now, **fields),
            say.snapshot(now, {99: 30}, {101: 30}),
        ]
        if key != SPOT:
            found.append(say.funding(now, funding_rate=0.0001, mark_price=100.0, index_price=100.0))
    for _ in range(rng.randrange(20, 70)):
        now += rng.choice([NS_PER_S, 20 * NS_PER_S, HOUR // 3])
        place = rng.randrange(len(keys))
        say = says[place]
        prices[place] = max(10.0, prices[place] + rng.choice([-9, -3, -2, -1, 0, 1, 2, 3, 9]))
        price = prices[place]
        kind = rng.random()
        if kind < 0.45:
            found.append(say.snapshot(now, {price - 1: rng.randrange(1, 40)}, {price + 1: rng.randrange(1, 40)}))
        elif kind < 0.6 or keys[place] == SPOT:
            found.append(say.trade(now, rng.choice(["buy", "sell"]), price, rng.randrange(1, 20)))
        else:
            rate = rng.choice([-0.01, -0.0001, 0.0001, 0.01])
            mark = price + rng.choice([-1.5, 0.0, 0.25])
            found.append(say.funding(now, funding_rate=rate, mark_price=mark, index_price=mark - 0.5))
    return [msgspec.structs.replace(message, capture_seq=number) for number, message in enumerate(found)]


@dataclass
class Reference:
    """Accounts in fractions, from what was executed and said, beside the ledger."""

    played: Played
    rows: list[LogRow] = field(default_factory=list)
    seen: int = 0
    checked: int = 0

    def look(self, row: LogRow) -> None:
        """After each row of the log."""
        recorder = self.played.session.desk._recorder
        ledger = recorder.ledger
        for account in ledger.accounts.values():
            worth = fees = Fraction(0)
            held = dict.fromkeys(account.pairs, 0)
            for entry in recorder._entries:
                if entry.pair not in account.pairs:
                    continue
                contract = ledger.markets[entry.pair].contract
                assert contract is not None
                size = Fraction(entry.size if entry.side == BUY else -entry.size, _SIZE)
                price = Fraction(entry.price, 10**18)
                exact = (
                    size * price
                    if contract.contract_value is None
                    else -size * Fraction(contract.contract_value) / price
                )
                assert abs(exact - Fraction(entry.worth, 10**30)) <= Fraction(1, 10**30)
                worth += Fraction(entry.worth, 10**30)
                if entry.fee_size:
                    # Paid in kind: it is worth that, and cash knows nothing of it.
                    assert entry.side == BUY
                    assert Fraction(entry.fee_size, _SIZE) * price == Fraction(entry.fee, 10**30)
                else:
                    fees += Fraction(entry.fee, 10**30)
                held[entry.pair] += (entry.size if entry.side == BUY else -entry.size) - entry.fee_size
            assert held == {place: ledger.positions[place].size for place in account.pairs}
            cash = Fraction(account.start + account.funding + account.transfers, 10**30) - worth - fees
            assert Fraction(account.cash, 10**30) == cash
            realized = sum(ledger.positions[place].realized for place in account.pairs)
            unrealized = sum(ledger.unrealized(place) for place in account.pairs)
            whole = account.start + account.transfers + account.funding - account.fees + realized + unrealized
            assert ledger.equity(account.name) == whole
        self.checked += 1


def play_randomly(seed: int) -> tuple[Played, Reference]:
    """A random strategy on a random tape, with random settings of the money."""
    rng = random.Random(seed)
    keys = [VENUES[rng.choice(sorted(VENUES))]] + ([INVERSE] if seed % 2 else []) + ([SPOT] if seed % 3 == 0 else [])
    messages = tape(rng, keys)
    is_dydx = keys == [VENUES["dydx_v4"]]
    # Two venues have an account in dollars where spot is there.
    dollars = f"{keys[0].venue}/USD" if SPOT in keys else "USD"

    class Rash(Strategy):
        wakes = Wakes(books=True)

        def on_book(self, ctx: Context, book: Any) -> None:
            if book.best_bid is None or book.best_ask is None or rng.random() < 0.3:
                return
            pair = rng.choice(ctx.pairs)
            size = rng.choice([rng.randrange(1, 30), rng.randrange(20, 100)])
            price = rng.choice([None, 97.0, 99.0, 101.0, 104.0])
            send = rng.choice([ctx.buy, ctx.sell])
            # Short-term orders of dYdX, whose cancels come to nothing for a while.
            short: dict[str, Any] = {"good_til_blocks": rng.randrange(1, 23)} if is_dydx and rng.random() < 0.5 else {}
            send(pair, size, price, **short)
            if rng.random() < 0.2:
                ctx.cancel_all()
            elif (orders := ctx.orders()) and rng.random() < 0.3:
                order = rng.choice(orders)
                if not order.is_market:
                    ctx.amend(order, size=float(rng.randrange(1, 60)))

    money: dict[str, Any] = {
        "leverage": {"": Decimal(rng.choice([1, 3, 20, 20, 20]))},
        "margin": {"": rng.choice(list(MarginMode))},
        "transfers": tuple(
            Transfer(
                START + rng.randrange(1, 10 * HOUR),
                "BTC" if seed % 2 and rng.random() < 0.5 else dollars,
                Decimal(each),
            )
            for each in rng.sample([5, -3, 40, 700], 2)
        ),
        "capital": {"USD": Decimal(rng.choice([100, 300, 1000])), **({"BTC": Decimal(50)} if seed % 2 else {})},
        "assumed": {"maintenance": Decimal(rng.choice(["0.01", "0.045"]))},
        "latency": rng.choice(["entry=0ns,response=0ns", "entry=20ms,response=50ms"]),
        **({"block_ns": NS_PER_S, "cancel_blocks": rng.choice([None, 0, 3])} if is_dydx else {}),
    }
    played = opened(Rash, keys=keys, start_ns=START, **money)
    reference = Reference(played)
    played.session.log.watch(reference.look)
    for message in messages:
        played.session.take(message)
    played.record = played.session.finish()
    assert played.session.failure is None, played.session.failure
    return played, reference


def check_whole(seed: int) -> Played:
    played, reference = play_randomly(seed)
    assert reference.checked == len(played.rows)
    house = played.session.house
    assert house is not None
    assert played.record is not None
    # What the owner has heard in the end is what the venue has.
    for name, account in played.record.ledger.accounts.items():
        of_venue = house.ledger.accounts.get(name)
        if of_venue is not None:
            assert (account.cash, account.funding) == (of_venue.cash, of_venue.funding), name
    for mine, its in zip(played.record.ledger.positions, house.ledger.positions, strict=True):
        assert mine.size == its.size
    for step in played.record.liquidations:
        assert Decimal(step.equity) < Decimal(step.maintenance)
    return played


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_money_adds_up_at_every_event_whatever_is_liquidated(seed: int) -> None:
    check_whole(seed)


def test_random_runs_do_liquidate_pay_and_move() -> None:
    """So that the property says something."""
    seen: dict[str, int] = {}
    for seed in range(24):
        played = check_whole(seed)
        assert played.record is not None
        for step in played.record.liquidations:
            seen[step.what] = seen.get(step.what, 0) + 1
        for row in played.told("money"):
            seen[row[3][0]] = seen.get(row[3][0], 0) + 1
        seen["leaving"] = seen.get("leaving", 0) + sum(
            row.acts[0] == "leaving" for row in played.rows if row.kind == "response"
        )
        seen["fee in kind"] = seen.get("fee in kind", 0) + sum(each.fee_size > 0 for each in played.record.entries)
    assert seen.keys() == {"order", "takeover", "funding", "transfer", "fee in kind", "leaving"}
    assert min(seen.values()) > 0


@pytest.mark.slow
def test_thousands_of_random_runs_on_margin_add_up() -> None:
    for seed in range(1_500):
        check_whole(seed)
