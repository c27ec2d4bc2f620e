"""What one fill does to an account: position or balances, realised profit, fee."""

from __future__ import annotations

from typing import NamedTuple

from replay.synthetic.account import SPOT_DECIMALS, Account, divide, tokens_per_lot
from replay.synthetic.account_wire import usd
from replay.synthetic.book import Fill
from replay.synthetic.coins import Instrument, text

__all__ = ["FEE_ONE", "PERP_FEES", "SPOT_FEES", "Settled", "settle_perp", "settle_spot"]

#: Fee rates in units of 1e-5 of the notional: taker and maker.
PERP_FEES = (45, 15)
SPOT_FEES = (70, 40)
FEE_ONE = 100_000


class Settled(NamedTuple):
    """The account's side of a fill, as the venue prints it."""

    start: str
    direction: str
    pnl: str
    fee: str
    fee_token: str


def settle_perp(account: Account, instrument: Instrument, is_buy: bool, fill: Fill, *, crossed: bool) -> Settled:
    """Settle one fill of a perpetual in the collateral of its dex."""
    house = account.clearinghouse(instrument)
    position = house.position(instrument)
    start = position.lots
    pnl = position.fill(fill.lots if is_buy else -fill.lots, fill.px)
    fee = fill.px * fill.lots * PERP_FEES[0 if crossed else 1] // FEE_ONE
    house.balance += pnl - fee
    return Settled(instrument.sz_text(start), _direction(start, position.lots), usd(pnl), usd(fee), house.token)


def settle_spot(account: Account, instrument: Instrument, is_buy: bool, fill: Fill, *, crossed: bool) -> Settled:
    """Settle one fill of a spot pair: a buyer pays the fee in the token he gets, a seller in the quote token."""
    base, quote = account.balance(instrument.base_name), account.balance(instrument.quote_name)
    start = base.total
    tokens, notional = fill.lots * tokens_per_lot(instrument), fill.px * fill.lots
    rate = SPOT_FEES[0 if crossed else 1]
    pnl = 0
    if is_buy:
        fee, token, direction = tokens * rate // FEE_ONE, instrument.base_name, "Buy"
        quote.total -= notional
        base.total += tokens - fee
        base.cost += notional
    else:
        fee, token, direction = notional * rate // FEE_ONE, instrument.quote_name, "Sell"
        released = divide(base.cost * tokens, base.total) if base.total else 0
        pnl = notional - released
        base.cost -= released
        base.total -= tokens
        quote.total += notional - fee
    return Settled(text(start, SPOT_DECIMALS), direction, text(pnl, SPOT_DECIMALS), text(fee, SPOT_DECIMALS), token)


def _direction(start: int, end: int) -> str:
    """What a fill did to a position, in the venue's words."""
    if start * end < 0:
        return "Long > Short" if start > 0 else "Short > Long"
    side = "Long" if (start or end) > 0 else "Short"
    return f"{'Open' if abs(end) > abs(start) else 'Close'} {side}"
