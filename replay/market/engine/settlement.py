"""What one fill does to an account: position or balances, realised profit, fee."""

from __future__ import annotations

from typing import NamedTuple

from replay.market.engine.accounts import Account, divide, tokens_per_lot
from replay.market.engine.book import Fill
from replay.market.engine.instruments import Instrument

__all__ = ["FEE_ONE", "FeeRates", "Settled", "settle_perp", "settle_spot"]

#: Fee rates count units of 1e-5 of the notional.
FEE_ONE = 100_000


class FeeRates(NamedTuple):
    """Fee rates in units of 1e-5 of the notional."""

    taker: int
    maker: int


class Settled(NamedTuple):
    """The account's side of a fill, as `Filled` has it."""

    before: int
    after: int
    pnl: int
    fee: int
    fee_token: str


def settle_perp(
    account: Account, instrument: Instrument, is_buy: bool, fill: Fill, rates: FeeRates, *, is_taker: bool
) -> Settled:
    """Settle one fill of a perpetual in the collateral of its pool; a fee is rounded down to 1e-6."""
    house = account.clearinghouse(instrument)
    position = house.position(instrument)
    before = position.lots
    pnl = position.fill(fill.lots if is_buy else -fill.lots, fill.px)
    fee = fill.px * fill.lots * (rates.taker if is_taker else rates.maker) // FEE_ONE
    house.balance += pnl - fee
    return Settled(before, position.lots, pnl, fee, house.token)


def settle_spot(
    account: Account, instrument: Instrument, is_buy: bool, fill: Fill, rates: FeeRates, *, is_taker: bool
) -> Settled:
    """
    Settle one fill of what moves balances; a fee is rounded down to 1e-8.

    A buyer pays the fee in the token that he gets, a seller in the quote token.
    """
    base, quote = account.balance(instrument.base_name), account.balance(instrument.quote_name)
    before = base.total
    tokens, notional = fill.lots * tokens_per_lot(instrument), fill.px * fill.lots
    rate = rates.taker if is_taker else rates.maker
    pnl = 0
    if is_buy:
        fee, token = tokens * rate // FEE_ONE, instrument.base_name
        quote.total -= notional
        base.total += tokens - fee
        base.cost += notional
    else:
        fee, token = notional * rate // FEE_ONE, instrument.quote_name
        released = divide(base.cost * tokens, base.total) if base.total else 0
        pnl = notional - released
        base.cost -= released
        base.total -= tokens
        quote.total += notional - fee
    return Settled(before, base.total, pnl, fee, token)
