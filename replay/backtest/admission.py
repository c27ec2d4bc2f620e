"""Whether a venue takes a request, by what it asks of orders at that time; the matching core sees those that it takes."""

from __future__ import annotations

from decimal import Decimal

from replay.backtest.market import Market
from replay.backtest.requests import OwnOrder
from replay.backtest.scales import PairScale
from replay.backtest.venue_facts import VenueFacts
from replay.market.layout import Reason

__all__ = ["refusal_of"]


def refusal_of(
    market: Market,
    facts: VenueFacts,
    order: OwnOrder,
    *,
    tick: int,
    lots: int,
    reference: float | None,
) -> Reason | None:
    """
    Why a venue would not take an order of that price and size; None if it would.

    Args:
        market: Of the pair.
        facts: Of the venue.
        order: What is known of it beside price and size.
        tick: Limit price, in ticks of the grid; 0: at market.
        lots: Size, in lots of the grid.
        reference: What an order at market is valued at; None where nothing is known.
    """
    rules, scale = market.rules_at(), market.scale
    if rules is None or scale is None or not rules.is_active:
        return Reason.NO_MARKET
    if not facts.offers(order):
        return Reason.NOT_OFFERED
    if lots <= 0 or tick < 0:
        return Reason.INVALID
    if tick and (tick % rules.ticks or not scale.has_figures(tick)):
        return Reason.OFF_TICK
    if lots % rules.lots:
        return Reason.OFF_LOT
    least = rules.min_notional if rules.min_notional is not None else facts.min_notional
    if least is None or (order.reduce_only and facts.reduce_only_is_exempt):
        return None
    return Reason.MIN_NOTIONAL if _is_worth_less(market, scale, tick, lots, reference, least) else None


def _is_worth_less(
    market: Market, scale: PairScale, tick: int, lots: int, reference: float | None, least: Decimal
) -> bool:
    """Whether an order's value in quote currency, exactly, is less than that; False where nothing is known of it."""
    if market.contract_value is not None:
        price, under = market.contract_value.as_integer_ratio()
    elif tick:
        price, under = scale.tick_ratio
        price *= tick
    elif reference is not None:
        price, under = reference.as_integer_ratio()
    else:
        return False
    lot, lot_under = scale.lot_ratio
    least_over, least_under = least.as_integer_ratio()
    # As whole numbers: fractions would be brought to their lowest terms at each step.
    return lots * lot * price * least_under < least_over * lot_under * under
