"""Whether a venue takes a request, by what it asks of orders at that time; the matching core sees those that it takes."""

from __future__ import annotations

from fractions import Fraction

from replay.backtest.market import Market, MarketRules
from replay.backtest.requests import OwnOrder
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
    least = _least(rules, facts)
    if least is None or (order.reduce_only and facts.reduce_only_is_exempt):
        return None
    value = _value(market, tick, lots, reference)
    return Reason.MIN_NOTIONAL if value is not None and value < least else None


def _least(rules: MarketRules, facts: VenueFacts) -> Fraction | None:
    least = rules.min_notional if rules.min_notional is not None else facts.min_notional
    return None if least is None else Fraction(least)


def _value(market: Market, tick: int, lots: int, reference: float | None) -> Fraction | None:
    """The order's value in quote currency, exactly."""
    scale = market.scale
    if scale is None:
        return None
    size = lots * Fraction(scale.lot)
    if market.contract_value is not None:
        return size * Fraction(market.contract_value)
    price = tick * Fraction(scale.tick) if tick else (None if reference is None else Fraction(reference))
    return None if price is None else size * price
