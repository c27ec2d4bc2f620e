"""What the core reports, as responses and fills."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from replay.backtest.mail import NO_REQUEST, Request
from replay.backtest.requests import OwnOrder, Response
from replay.market.layout import Reason, ReportCode, RequestCode, StateCode

__all__ = ["Fill", "fill_of", "last_of_requests", "refusal_said", "response_of", "waiting_said"]


#: By number: an enumeration that is called looks the number up slowly.
_CODES: Final = tuple(ReportCode)
_STATES: Final = tuple(StateCode)


class Fill(msgspec.Struct, frozen=True, gc=False):
    """
    One execution of an own order, at the venue.

    Attributes:
        venue_ns: When, on the venue's clock.
        order_id: Number of the order.
        pair: Place of the pair.
        side: 0 buy, 1 sell.
        tick: Price, ticks.
        lots: Size.
        role: 1 maker, 2 taker.
    """

    venue_ns: int
    order_id: int
    pair: int
    side: int
    tick: int
    lots: int
    role: int


def fill_of(response: Response) -> Fill:
    """The execution that a response tells of."""
    return Fill(
        response.venue_ns,
        response.order_id,
        response.pair,
        response.side,
        response.tick,
        response.lots,
        response.role,
    )


def response_of(row: tuple[int, ...]) -> Response:
    """A row of `layout.REPORT` as a response that has not been received yet."""
    time, order_id, request, _, tick, lots, left, filled, size, pair, code, side, state, role, reason, _ = row
    return Response(
        0,
        time,
        request,
        order_id,
        pair,
        _CODES[code],
        _STATES[state],
        side,
        tick,
        lots,
        left,
        filled,
        size,
        role,
        reason,
    )


def refusal_said(at_ns: int, request: Request, reason: Reason) -> Response:
    """The answer to a request that was not taken: of a new order its end, of another request no change."""
    is_new = request.code is RequestCode.NEW
    order = request.order
    return Response(
        0,
        at_ns,
        request.number,
        0 if order is None else order.order_id,
        request.pair,
        ReportCode.ENDED if is_new else ReportCode.REFUSED,
        StateCode.REJECTED if is_new else StateCode.UNKNOWN,
        0 if order is None else order.side,
        request.tick,
        0,
        0 if order is None else order.left,
        0 if order is None else order.filled,
        request.lots,
        0,
        int(reason),
    )


def waiting_said(
    at_ns: int,
    order: OwnOrder,
    code: ReportCode,
    *,
    number: int = NO_REQUEST,
    tick: int,
    lots: int,
    reason: Reason = Reason.NONE,
    state: StateCode = StateCode.OPEN,
    filled: int = 0,
) -> Response:
    """What the venue says of an order that waits to be woken, or that it works off in parts."""
    left = lots - filled if state in (StateCode.OPEN, StateCode.PARTIALLY_FILLED) else 0
    body = (order.order_id, order.pair, code, state, order.side, tick, 0, left, filled, lots, 0, int(reason))
    return Response(0, at_ns, number, *body)


def last_of_requests(responses: list[Response]) -> Iterator[Response]:
    """
    One answer for all that a request did to one order, which is the last.

    It names the last execution there was, also where the rest of the order expired after it.
    """
    last = {(each.request, each.order_id): index for index, each in enumerate(responses) if each.request >= 0}
    executed: dict[tuple[int, int], Response] = {}
    for index, each in enumerate(responses):
        key = (each.request, each.order_id)
        if each.request < 0:
            yield each
            continue
        if each.code is ReportCode.EXECUTED:
            executed[key] = each
        if last[key] == index:
            done = executed.get(key)
            yield (
                each if done is None else msgspec.structs.replace(each, tick=done.tick, lots=done.lots, role=done.role)
            )
