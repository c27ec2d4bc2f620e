"""A small run, made by hand, whose money is known."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from replay.ledger.ledger import LedgerMarket
from replay.ledger.money import Contract, ContractKind, Fees
from replay.market.layout import BUY, SELL, Role
from replay.results.run_record import DecisionRow, FillRow, OrderRow, RunHead, RunRecord
from replay.results.run_recorder import RunRecorder
from toolkit.account_messages import OrderState
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Instrument, InstrumentKind, StreamEvent

START: Final = 1_700_000_000 * NS_PER_S
HEAD: Final = RunHead(
    strategy="Maker",
    source="maker.py",
    source_hash="ab" * 16,
    parameters={"half_spread": 2, "size": 0.5},
    seed=7,
    rules={"queue_front": "pessimistic"},
    latency="entry=1ms,response=1ms",
    gap_policy="cancel",
    recordings=[{"name": "monday", "digest": "cd" * 16}],
)
#: 1 basis point for the maker, 5 for the taker, to six decimals.
FEES: Final = Fees(maker=Decimal("0.0001"), taker=Decimal("0.0005"), decimals=6)


def linear_market(venue: str = "hyperliquid", pair: str = "BTC-USD", settle: str = "USDC") -> LedgerMarket:
    """Ticks of 1, lots of 0.01."""
    contract = Contract(kind=ContractKind.LINEAR, settle=settle, base=pair.partition("-")[0])
    return LedgerMarket(key=PairKey(venue, pair), contract=contract, fees=FEES, tick=Decimal(1), lot=Decimal("0.01"))


def recorder(*markets: LedgerMarket, capital: dict[str, Decimal] | None = None, head: RunHead = HEAD) -> RunRecorder:
    """One that has begun, with an instrument for each pair."""
    markets = markets or (linear_market(),)
    symbols = [market.key.trading_pair.partition("-")[0] for market in markets]
    given = {"USDC": Decimal(10_000)} if capital is None else capital
    made = RunRecorder(head, markets, given, start_ns=START, symbols=symbols)
    for market, symbol in zip(markets, symbols, strict=True):
        contract = market.contract
        assert contract is not None
        kind = InstrumentKind.SPOT if contract.kind is ContractKind.SPOT else InstrumentKind.PERPETUAL
        value = None if contract.contract_value is None else float(contract.contract_value)
        quote = market.key.trading_pair.partition("-")[2]
        made.hear(
            Instrument(
                market.key.venue,
                symbol,
                market.key.trading_pair,
                None,
                START,
                5,
                0,
                kind,
                contract.base,
                quote,
                contract.settle,
                price_tick=1.0,
                size_step=0.01,
                contract_value=value,
            ),
            START,
        )
    made.frame_done(START)
    return made


def at(seconds: float) -> int:
    """ns since the epoch."""
    return START + round(seconds * NS_PER_S)


def trade(
    made: RunRecorder,
    seconds: float,
    side: int,
    tick: int,
    lots: int,
    *,
    pair: int = 0,
    role: int = Role.MAKER,
    number: int | None = None,
    is_uncertain: bool = False,
) -> int:
    """An order that is taken in and filled at once, 1 ms before that is heard; its number."""
    order_id = made.ledger.executions + 1 if number is None else number
    now, then = at(seconds), at(seconds) - 1_000_000
    client_order_id = f"Maker-1-{order_id}"
    taken_in = OrderRow(
        now_ns=now,
        venue_ns=then,
        pair=pair,
        order_id=order_id,
        state=OrderState.OPEN,
        status="open",
        side=side,
        tick=tick,
        lots=lots,
        left=lots,
        client_order_id=client_order_id,
        created_ns=then,
    )
    made.order(taken_in)
    made.fill(
        FillRow(
            now_ns=now,
            venue_ns=then,
            pair=pair,
            order_id=order_id,
            side=side,
            tick=tick,
            lots=lots,
            role=role,
            client_order_id=client_order_id,
            is_uncertain=is_uncertain,
        )
    )
    made.order(msgspec.structs.replace(taken_in, state=OrderState.FILLED, status="filled", left=0))
    return order_id


def quote(made: RunRecorder, seconds: float, bid: int, ask: int, *, pair: int = 0, is_stale: bool = False) -> None:
    """Best prices of 2 on each side."""
    made.note_top(pair, at(seconds), bid, 200, ask, 200, is_stale)


def small_run() -> RunRecord:
    """
    Buys 2 at 100 as a maker, sells 1 at 106 as a taker, holds 1 to the end at 104; a gap in between.

    Fees: 200 * 0.0001 + 106 * 0.0005 = 0.02 + 0.053 = 0.073. Realized 6, not realized 4; net 9.927.
    """
    made = recorder()
    quote(made, 1, 99, 101)
    made.frame_done(at(1))
    made.decision(DecisionRow(at(2), "timer", "every", 12, 0, '{"buy":{"price":100,"size":2}}', "00" * 16))
    made.series(at(2), "fair", 100.5)
    made.frame_done(at(2))
    trade(made, 3, BUY, 100, 200)
    made.frame_done(at(3))
    quote(made, 10, 103, 105, is_stale=True)
    made.hear(
        StreamEvent(
            "hyperliquid", "BTC", "BTC-USD", None, at(12), 9, 0, EventKind.GAP, "full", "disconnect", at(10), at(12), 0
        ),
        at(12),
    )
    made.count("gaps")
    made.frame_done(at(10), is_doubtful=True)
    quote(made, 12, 105, 107)
    made.frame_done(at(12))
    trade(made, 15, SELL, 106, 100, role=Role.TAKER)
    made.frame_done(at(15))
    quote(made, 20, 103, 105)
    made.frame_done(at(20))
    return made.finish(at(60))
