"""
The scheduler `venue`: the market acts at the venue's own stamps.

What a request meets at the venue is decided on the venue's clock, before the frames that show it have been received; no
live session could do that. It is for comparison with programs that work like this, and for research.

At one time of the venue market data goes before requests that arrive, in the order of `(time, place in the capture)`:
venues cut their stamps to milliseconds. Each way keeps its order: what was sent later never arrives earlier.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from replay.backtest.latency import Latency
from replay.backtest.reports import Fill, fill_of, last_of_requests, response_of
from replay.backtest.requests import OwnOrder, OwnOrders, Refusal, Response
from replay.market.core import MatchingCore, make_request
from replay.market.layout import ReportCode, RequestCode, StateCode, TifCode
from replay.market.rules import CancelEarly, Responses

__all__ = ["Fill", "VenueScheduler", "calibrate", "venue_order"]

_END: Final = 2**62


def calibrate(events: npt.NDArray[np.void]) -> int:
    """The clock offset by which the fastest message took no time: `-min(ts_recv - ts_event)`, ns. 0 without events."""
    return -int((events["recv"] - events["time"]).min()) if len(events) else 0


def venue_order(events: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Events in the order in which they act at the venue: by its time, then by their place in the capture."""
    return events[np.argsort(events["time"], kind="stable")]


class VenueScheduler:
    """
    Sends requests to a matching core and brings back its answers, each after its time.

    Args:
        core: The venue; nothing has happened in it.
        events: The market, as `venue_order` gives it.
        latency: How long requests and answers take.
        clock_offset_ns: The venue's clock less ours. Times of callers are ours, those of fills the venue's.

    Raises ConfigError for events that cannot be, or are not in that order.

    Attributes:
        own: The orders as their owner knows them.
        fills: Every execution so far, in order.
        responses: Every answer received so far, in order.
    """

    def __init__(
        self, core: MatchingCore, events: npt.NDArray[np.void], latency: Latency, *, clock_offset_ns: int = 0
    ) -> None:
        core.check(events)
        self._core = core
        self._events = events
        self._latency = latency
        self._offset = clock_offset_ns
        self._at = 0  # the first event that has not happened
        self._number = 0
        self._arrivals: deque[np.void] = deque()
        self._answers: deque[Response] = deque()  # by time of receipt
        self._arrival_last = -_END
        self._receipt_last = -_END
        self._merges = core.rules.responses is Responses.EACH_REQUEST
        self.own = OwnOrders(queues=core.rules.cancel_early is CancelEarly.QUEUED)
        self.fills: list[Fill] = []
        self.responses: list[Response] = []

    # -- time ------------------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> list[Response]:
        """Let everything happen up to a time of ours, that time included; the answers received by then."""
        until = now_ns + self._offset
        while self._arrivals and self._arrivals[0]["time"] <= until:
            request = self._arrivals.popleft()
            self._run(int(request["time"]))
            self._core.arrive(request)
            self._collect()
        self._run(until)
        received = []
        while self._answers and self._answers[0].received_ns <= now_ns:
            response = self._answers.popleft()
            self.own.take(response)
            received.append(response)
        self.responses += received
        return received

    def finish(self) -> list[Response]:
        """Let everything happen that is still to come."""
        return self.advance(_END)

    def _run(self, until: int) -> None:
        self._at = self._core.run(self._events, self._at, until)
        self._collect()

    # -- requests --------------------------------------------------------------------------------------------------

    def submit(
        self,
        now_ns: int,
        order_id: int,
        *,
        side: int,
        tick: int,
        lots: int,
        pair: int = 0,
        tif: TifCode = TifCode.GTC,
        is_market: bool = False,
    ) -> Refusal | None:
        """Send an order; None, or why it was not sent."""
        refusal = self.own.refusal(RequestCode.NEW, order_id)
        if refusal is None:
            order = OwnOrder(order_id, pair, side, tick, lots, lots, StateCode.UNKNOWN, {})
            self.own.add(order)
            self._send(
                now_ns, RequestCode.NEW, order, tick=tick, lots=lots, side=side, tif=int(tif), market=int(is_market)
            )
        return refusal

    def amend(self, now_ns: int, order_id: int, *, tick: int, lots: int) -> Refusal | None:
        """Ask for another price or size (all of it, not what is left); None, or why it was not sent."""
        refusal = self.own.refusal(RequestCode.AMEND, order_id)
        if refusal is None:
            order = self.own.orders[order_id]
            self._send(now_ns, RequestCode.AMEND, order, tick=tick, lots=lots, known_left=order.left)
        return refusal

    def cancel(self, now_ns: int, order_id: int) -> Refusal | None:
        """Ask for an order back; None, or why that was not sent."""
        refusal = self.own.refusal(RequestCode.CANCEL, order_id)
        if refusal is None:
            self._send(now_ns, RequestCode.CANCEL, self.own.orders[order_id])
        return refusal

    def cancel_all(self, now_ns: int, pair: int = -1) -> None:
        """Ask for all orders of a pair back, or for all there are."""
        self._send(now_ns, RequestCode.CANCEL_ALL, None, pair=pair)

    def _send(self, now_ns: int, code: RequestCode, order: OwnOrder | None, **fields: int) -> None:
        self._number += 1
        if order is not None:
            order.pending[self._number] = code
            fields |= {"id": order.order_id, "pair": order.pair}
        entry = self._latency.entry_ns(now_ns)
        if entry < 0:
            self._lose(now_ns - entry, code, order)
            return
        arrival = max(self._arrival_last, now_ns + self._offset + entry)
        self._arrival_last = arrival
        self._arrivals.append(make_request(time=arrival, number=self._number, code=int(code), **fields))

    def _lose(self, heard_ns: int, code: RequestCode, order: OwnOrder | None) -> None:
        """The request never arrives, and its sender hears of that."""
        if order is None:
            return
        is_new = code is RequestCode.NEW
        self._answer(
            heard_ns,
            Response(
                0,
                heard_ns + self._offset,
                self._number,
                order.order_id,
                order.pair,
                ReportCode.ENDED if is_new else ReportCode.REFUSED,
                StateCode.REJECTED if is_new else StateCode.UNKNOWN,
                order.side,
                order.tick,
                0,
                order.left,
                order.size - order.left,
                order.size,
                0,
                0,
            ),
        )

    # -- answers ---------------------------------------------------------------------------------------------------

    def _answer(self, heard_ns: int, response: Response) -> None:
        self._receipt_last = max(self._receipt_last, heard_ns)
        self._answers.append(msgspec.structs.replace(response, received_ns=self._receipt_last))

    def _collect(self) -> None:
        """Take what the core has reported: every execution is a fill, and each report an answer, or each request."""
        reports = self._core.take()
        if not len(reports):
            return
        responses = []
        for row in reports.tolist():
            response = response_of(row)
            if response.code is ReportCode.EXECUTED:
                self.fills.append(fill_of(response))
            responses.append(response)
        for response in last_of_requests(responses) if self._merges else responses:
            heard = response.venue_ns - self._offset + self._latency.response_ns(response.venue_ns)
            self._answer(heard, response)
