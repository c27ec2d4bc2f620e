"""Orders that a venue works off over a length of time: parts at fixed intervals, each taking what it finds near the mark."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from replay.backtest.admission import Floor
from replay.backtest.mail import Request
from replay.backtest.reports import waiting_said
from replay.backtest.requests import OwnOrder, Response
from replay.ledger.margin_rules import TwapRules
from replay.market.layout import BUY, Reason, ReportCode, RequestCode, StateCode
from toolkit.timing.timers import NEVER_NS

__all__ = ["TWAP_TAG", "Twaps"]

#: The tag of the parts.
TWAP_TAG: Final = "twap"


@dataclass(slots=True)
class _Work:
    """An order that is worked off: its rules, size, parts in all, those sent, when the next is due, what was filled."""

    order: OwnOrder
    rules: TwapRules
    lots: int
    parts: int
    next_ns: int
    sent: int = 0
    filled: int = 0


class Twaps:
    """
    The orders that are worked off.

    Args:
        floor: Where parts are sent.
    """

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._works: dict[int, _Work] = {}
        #: Of each part that is being matched the order it is of.
        self._of_part: dict[int, _Work] = {}

    def hold(self, at_ns: int, request: Request, order: OwnOrder, rules: TwapRules) -> list[Response]:
        """Take an order or give it back; what is said of it. One that is worked off cannot be amended."""
        work = self._works.get(order.order_id)
        if work is None:
            parts = max(1, order.twap_ns // rules.every_ns)
            self._works[order.order_id] = _Work(order, rules, request.lots, parts, at_ns)
            order.is_waiting = True
            return [waiting_said(at_ns, order, ReportCode.ACCEPTED, number=request.number, tick=0, lots=request.lots)]
        if request.code is RequestCode.CANCEL:
            return [self.drop(at_ns, order, Reason.REQUESTED, number=request.number)]
        state = StateCode.UNKNOWN
        return [
            waiting_said(
                at_ns,
                order,
                ReportCode.REFUSED,
                number=request.number,
                tick=0,
                lots=work.lots,
                reason=Reason.NOT_OFFERED,
                state=state,
                filled=work.filled,
            )
        ]

    def has(self, order: OwnOrder) -> bool:
        """Whether an order is worked off."""
        return order.order_id in self._works

    def drop(self, at_ns: int, order: OwnOrder, reason: Reason, *, number: int = -1) -> Response:
        """End one; what is said of it."""
        work = self._works.pop(order.order_id)
        order.is_waiting = False
        is_filled = work.filled >= work.lots
        state = StateCode.FILLED if is_filled else StateCode.EXPIRED if reason is Reason.EXPIRY else StateCode.CANCELLED
        return waiting_said(
            at_ns,
            order,
            ReportCode.ENDED,
            number=number,
            tick=0,
            lots=work.lots,
            reason=Reason.NONE if is_filled else reason,
            state=state,
            filled=work.filled,
        )

    def execute(self, part: OwnOrder, lots: int) -> None:
        """A part was executed."""
        work = self._of_part.get(part.order_id)
        if work is not None:
            work.filled += lots

    @property
    def next_ns(self) -> int:
        """When the next part is due, or an order is over; `NEVER_NS` without one."""
        return min((work.next_ns for work in self._works.values()), default=NEVER_NS)

    def act(self, at_ns: int) -> None:
        """Send the parts that are due, and end what is over, in the order in which they came."""
        for work in [work for work in self._works.values() if work.next_ns <= at_ns]:
            if work.order.order_id in self._works and work.sent < work.parts and work.filled < work.lots:
                self._send(at_ns, work)
            if work.order.order_id not in self._works:
                continue
            if work.filled >= work.lots or work.sent >= work.parts:
                said = self.drop(at_ns, work.order, Reason.EXPIRY)
                self._floor.collect(self._floor.desks[work.order.pair], [said])
            else:
                work.next_ns = at_ns + work.rules.every_ns

    def _send(self, at_ns: int, work: _Work) -> None:
        work.sent += 1
        target = work.lots * work.sent // work.parts
        most = max(1, work.lots * work.rules.catch_up // work.parts)
        lots = min(target - work.filled, most)
        order = work.order
        if lots <= 0:
            return
        part = self._floor.part_of(at_ns, order, lots, self._bound(work), TWAP_TAG)
        self._of_part[part.order_id] = work
        self._floor.match(at_ns, part, part.tick, lots)
        del self._of_part[part.order_id]

    def _bound(self, work: _Work) -> int | None:
        """The worst tick of a part; None where no mark price is known."""
        order = work.order
        mark, scale = self._floor.desks[order.pair].marks.get(order.pair), self._floor.markets[order.pair].scale
        if mark is None or scale is None:
            return None
        share = Fraction(work.rules.slippage_max)
        price = Fraction(repr(mark)) * (1 + share if order.side == BUY else 1 - share) / Fraction(scale.tick)
        return max(
            1, price.numerator // price.denominator if order.side == BUY else -(-price.numerator // price.denominator)
        )

    def rescale(self, pair: int, lots: int) -> None:
        """Count those of a pair in finer lots."""
        for work in self._works.values():
            if work.order.pair == pair:
                work.lots *= lots
                work.filled *= lots
