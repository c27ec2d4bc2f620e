"""Payments that the embedded venues print, to the unit: size, rate and the oracle price of the settlement give the amount."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import msgspec
import pytest

from replay.backtest.venue_facts import facts_of
from replay.ledger.ledger import Ledger, LedgerMarket
from replay.ledger.money import Contract, ContractKind, Fees, Rounding, amount, price_units, units_of
from replay.serving.synthetic_venue import Ask
from replay.serving.venues.dydx_v4.synthetic.venue import SyntheticDydx
from replay.serving.venues.hyperliquid.synthetic.venue import SyntheticHyperliquid
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions
from toolkit.clock import NS_PER_S
from toolkit.keys import PairKey

#: `(symbol, time in ms, size, rate, amount)`, the amount positive where it was received.
Printed = tuple[str, int | None, Decimal, Decimal, Decimal]


def made(seed: int) -> Market:
    return Market(MarketOptions(seed=seed, funding_every_ns=5 * NS_PER_S))


def on_hyperliquid(market: Market) -> Iterator[Printed]:
    venue = SyntheticHyperliquid(market, None, AccountsOptions())
    venue.advance(market.block_time_ns(600))
    for account in venue.exchange.accounts.values():
        asked = msgspec.json.encode({"type": "userFunding", "user": account.address, "startTime": 0})
        for row in json.loads(venue.info.handle(asked, "application/json").body):
            delta = row["delta"]
            numbers = (Decimal(delta[name]) for name in ("szi", "fundingRate", "usdc"))
            yield (delta["coin"], row["time"], *numbers)


def on_dydx(market: Market) -> Iterator[Printed]:
    venue = SyntheticDydx(market, None, AccountsOptions())
    start_ns = market.options.genesis_ns
    venue.advance(start_ns + 45 * NS_PER_S)
    for name in venue.account_names().values():
        address, number = name.split("/")
        query = {"address": address, "subaccountNumber": number}
        reply = venue.answer(Ask("GET", "/v4/fundingPayments", query, b"", "", "x"), start_ns)
        for row in json.loads(reply.body)["fundingPayments"]:
            size = Decimal(row["size"]) * (-1 if row["side"] == "SHORT" else 1)
            yield row["ticker"].split("-")[0], None, size, Decimal(row["rate"]), Decimal(row["payment"])


@pytest.mark.parametrize(("venue", "printed"), [("hyperliquid", on_hyperliquid), ("dydx_v4", on_dydx)])
def test_every_printed_payment_is_reproduced_to_the_unit(venue: str, printed: object) -> None:
    """The price of a settlement is not printed beside the payment: it is one of those that the market settled by."""
    rules = facts_of(venue).funding
    assert rules is not None
    contract = Contract(kind=ContractKind.LINEAR, settle="USDC", base="BTC")
    free = Fees(maker=Decimal(0), taker=Decimal(0))
    market, seen = made(7), set()
    assert callable(printed)
    # What a venue lists under a name or in units of its own is left out.
    rows = [row for row in printed(market) if row[0] in market.perps]
    for symbol, time_ms, size, rate, paid in rows:
        ledger = Ledger(
            [
                LedgerMarket(
                    key=PairKey(venue, symbol),
                    contract=contract,
                    fees=free,
                    tick=Decimal("0.1"),
                    lot=Decimal("0.001"),
                    funding_rounding=Rounding(rules.decimals, rules.rounding),
                )
            ]
        )
        context = market.perps[symbol]
        prices = {
            Decimal(each.oracle).scaleb(-context.instrument.px_decimals)
            for each in context.fundings
            if Decimal(each.rate).scaleb(-10) == rate and time_ms in (None, each.time_ms)
        }
        amounts = {amount(ledger.funding_of(0, rate, price_units(each), units_of(size, 12))) for each in prices}
        assert paid in amounts, (symbol, size, rate)
        assert time_ms is None or len(prices) == 1
        seen.add((size > 0, paid > 0))
    assert len(rows) > 20
    assert len(seen) > 1
