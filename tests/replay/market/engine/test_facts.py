"""The facts of an account are the whole of what happened to it: they alone give its positions, balances and open orders."""

from __future__ import annotations

from collections import Counter

import pytest

from replay.market.engine.accounts import SPOT_DECIMALS, Account
from replay.market.engine.exchange import Exchange
from replay.market.engine.facts import (
    Accepted,
    Amended,
    Cancelled,
    Completed,
    Fact,
    Filled,
    FundingPaid,
    Liquidated,
    Rejected,
    TransferKind,
    Transferred,
    Triggered,
)
from replay.market.engine.instruments import Kind
from replay.synthetic.market import Market, MarketOptions
from replay.synthetic.traders import AccountsOptions, settle_traders
from toolkit.clock import NS_PER_S

_TO_SPOT = 10 ** (SPOT_DECIMALS - 6)


class Books:
    """What the facts say that an account has."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.collateral: Counter[str] = Counter()
        self.lots: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.left: dict[int, int] = {}

    def take(self, fact: Fact) -> None:
        match fact:
            case Accepted() | Amended():
                if isinstance(fact, Amended):
                    del self.left[fact.before.oid]
                self.left[fact.order.oid] = fact.order.lots
            case Filled():
                self._trade(fact)
            case Cancelled() | Completed():
                left = self.left.pop(fact.order.oid, fact.order.lots)
                assert left == fact.order.lots
                assert (left == 0) is isinstance(fact, Completed)
            case FundingPaid():
                assert fact.lots == self.lots[fact.instrument.symbol]
                self.collateral[fact.instrument.quote_name] -= fact.amount
            case Transferred():
                self._move(fact)
            case Liquidated():
                assert all(not self.lots[instrument.symbol] for instrument, _ in fact.positions)
            case Triggered():
                if fact.order.reduce_only:
                    held = abs(self.lots[fact.order.instrument.symbol])
                    self.left[fact.order.oid] = min(self.left[fact.order.oid], held)
            case Rejected():
                assert fact.order.oid not in self.left
            case _:
                pytest.fail(f"a fact of no kind: {fact}")

    def _trade(self, fact: Filled) -> None:
        order, trade, instrument = fact.order, fact.trade, fact.order.instrument
        signed = trade.lots if order.is_buy else -trade.lots
        if instrument.kind is Kind.SPOT:
            tokens = trade.lots * 10 ** (SPOT_DECIMALS - instrument.sz_decimals)
            self.tokens[instrument.base_name] += tokens if order.is_buy else -tokens
            self.tokens[instrument.quote_name] -= trade.px * signed
            self.tokens[fact.fee_token] -= fact.fee
            assert fact.after == self.tokens[instrument.base_name]
        else:
            assert fact.before == self.lots[instrument.symbol]
            self.lots[instrument.symbol] += signed
            assert fact.after == self.lots[instrument.symbol]
            self.collateral[fact.fee_token] += fact.pnl - fact.fee
        if order.oid in self.left:
            self.left[order.oid] -= trade.lots
            assert self.left[order.oid] == order.lots

    def _move(self, fact: Transferred) -> None:
        if fact.sender == self.name:
            self.collateral[fact.token] -= fact.amount
        if fact.recipient != self.name:
            return
        if fact.kind is TransferKind.TO_SPOT:
            self.tokens[fact.token] += fact.amount * _TO_SPOT
        else:
            self.collateral[fact.token] += fact.amount


def explain(account: Account, books: Books) -> None:
    """Compare an account with what its facts say."""
    for house in account.clearinghouses.values():
        assert books.collateral[house.token] == house.balance
        assert {each.instrument.symbol: each.lots for each in house.open_positions()} == {
            symbol: lots for symbol, lots in books.lots.items() if lots and symbol in house.positions
        }
    assert {token: balance.total for token, balance in account.spot.items() if balance.total} == {
        token: total for token, total in books.tokens.items() if total
    }
    assert {oid: each.order.lots for oid, each in account.open.items()} == books.left


@pytest.mark.parametrize("seed", [1, 8, "soak"])
def test_facts_alone_give_what_an_account_has(seed: int | str) -> None:
    market = Market(MarketOptions(seed=seed, funding_every_ns=20 * NS_PER_S, funding_history=1))
    exchange = Exchange(market, seed)
    settle_traders(market, exchange, AccountsOptions(liquidation_block=200, liquidation_every=300, transfer_every=90))
    market.participants.append(exchange)
    books = {name: Books(name) for name in exchange.accounts}
    seen: Counter[type[Fact]] = Counter()
    for block in range(8):
        for _ in market.advance(100):
            pass
        for name, facts in exchange.take_facts().items():
            for fact in facts:
                seen[type(fact)] += 1
                books[name].take(fact)
        for name, account in exchange.accounts.items():
            explain(account, books[name])
        assert block or seen[Filled]
    kinds = {Accepted, Amended, Cancelled, Completed, Filled, FundingPaid, Liquidated, Rejected, Transferred}
    assert kinds <= seen.keys()
