"""Orders that wait at a venue until its reference price reaches theirs: stops, and orders that take a profit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from replay.backtest.mail import Request
from replay.backtest.market import Market
from replay.backtest.reports import waiting_said
from replay.backtest.requests import OwnOrder, Response
from replay.ledger.margin_rules import ReferencePrice
from replay.market.layout import Reason, ReportCode, RequestCode, StateCode

__all__ = ["Held", "TriggerShelf", "kind_of"]


@dataclass(slots=True)
class Held:
    """An order that waits, with the price and size that it has at the venue."""

    order: OwnOrder
    tick: int
    lots: int


def kind_of(order: OwnOrder, usual: ReferencePrice) -> ReferencePrice:
    """Which price wakes an order, where one that names none means the usual one."""
    return usual if order.trigger is None or order.trigger.on is None else order.trigger.on


class TriggerShelf:
    """
    The orders that wait.

    Args:
        markets: The pairs.

    Attributes:
        held: Orders that are held, by id.
    """

    def __init__(self, markets: Sequence[Market]) -> None:
        self._markets = markets
        self.held: dict[int, Held] = {}

    def hold(self, at_ns: int, request: Request, order: OwnOrder) -> list[Response]:
        """Take an order, amend it or give it back; what is said of it."""
        if request.code is RequestCode.CANCEL:
            return [self.drop(at_ns, order, Reason.REQUESTED, number=request.number)]
        code = ReportCode.AMENDED if order.order_id in self.held else ReportCode.ACCEPTED
        self.held[order.order_id] = Held(order, request.tick, request.lots)
        order.is_waiting = True
        return [waiting_said(at_ns, order, code, number=request.number, tick=request.tick, lots=request.lots)]

    def drop(self, at_ns: int, order: OwnOrder, reason: Reason, *, number: int = -1) -> Response:
        """End one that waits; what is said of it."""
        held = self.held.pop(order.order_id)
        order.is_waiting = False
        state = StateCode.EXPIRED if reason is Reason.EXPIRY else StateCode.CANCELLED
        return waiting_said(
            at_ns,
            order,
            ReportCode.ENDED,
            number=number,
            tick=held.tick,
            lots=held.lots,
            reason=reason,
            state=state,
        )

    def is_reached(self, order: OwnOrder, price: float) -> bool:
        """Whether a reference price wakes an order."""
        scale, trigger = self._markets[order.pair].scale, order.trigger
        if scale is None or trigger is None:
            return False
        at = scale.price(trigger.tick)
        return price >= at if trigger.is_above else price <= at

    def wake(self, pair: int, price: float, kind: ReferencePrice, usual: ReferencePrice) -> list[Held]:
        """
        Take out those of a pair that a price wakes, in the order in which they came.

        Args:
            pair: The pair.
            price: The price.
            kind: Price of the venue that the message states.
            usual: Price that an order means that names none.
        """
        woken = [
            each
            for each in self.held.values()
            if each.order.pair == pair and kind_of(each.order, usual) is kind and self.is_reached(each.order, price)
        ]
        for each in woken:
            del self.held[each.order.order_id]
            each.order.is_waiting = False
        return woken

    def rescale(self, pair: int, ticks: int, lots: int) -> None:
        """Count those of a pair in finer steps; the orders themselves are counted by their owner."""
        for each in self.held.values():
            if each.order.pair == pair:
                each.tick *= ticks
                each.lots *= lots
