"""Requests and answers under way: when each arrives, in which order, and what the venue does by itself meanwhile."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from replay.backtest.gap_policy import Doubt
from replay.backtest.receive_latency import LatencyModel
from replay.backtest.requests import OwnOrder, Response
from replay.ledger.margin_rules import BlockRules
from replay.market.layout import Reason, ReportCode, RequestCode, StateCode
from toolkit.errors import ConfigError
from toolkit.timing.timers import NEVER_NS

__all__ = ["NO_REQUEST", "Mail", "Request", "fields_of", "last_block_refusal", "leave", "stamp"]

#: The number of what no request has asked for.
NO_REQUEST: Final = -1
#: What happens at one time: the venue's own doing first.
_OWN_DOING, _ARRIVAL = 0, 1


class Request(msgspec.Struct, gc=False, kw_only=True):
    """
    A request under way; or what the venue does by itself.

    Attributes:
        code: Kind of the request.
        venue: Venue that it is from.
        number: Its sender's count; `NO_REQUEST` of what the venue does by itself.
        pair: Place of the pair; -1: of all.
        order: Number of the order it is about; None: about many.
        tick: Limit price.
        lots: Size.
        known_left: Remainder as its sender knows it, of an amendment.
        reason: Reason of what ends an order by itself.
        at_ns: When the dead man's switch is to act; `NEVER_NS`: not at all.
        turn: Number of the setting of the switch.
    """

    code: RequestCode
    venue: str
    number: int = NO_REQUEST
    pair: int = -1
    order: OwnOrder | None = None
    tick: int = 0
    lots: int = 0
    known_left: int = 0
    reason: Reason = Reason.NONE
    at_ns: int = NEVER_NS
    turn: int = 0

    @property
    def is_wake(self) -> bool:
        """Whether it is a time that the keeper of the account's money has asked for."""
        return self.number == NO_REQUEST and self.order is None and self.reason is Reason.NONE


def fields_of(request: Request, order: OwnOrder) -> dict[str, int]:
    """A request about an order as the matching core takes it, but for its kind and time; see `layout.REQUEST`."""
    return {
        "number": request.number,
        "id": order.order_id,
        "tick": request.tick,
        "lots": request.lots,
        "known_left": request.known_left,
        "pair": request.pair,
        "side": order.side,
        "tif": int(order.tif),
        "market": int(order.is_market),
        "reduce": int(order.reduce_only),
    }


def _is_late(request: Request, rules: BlockRules) -> bool:
    """Whether a request is there with the end of its block alone."""
    order = request.order
    if order is None or order.is_for_later:
        return False
    if rules.is_short(order):
        return False
    if request.code is RequestCode.CANCEL:
        return "cancel" in rules.late
    return ("ioc" if order.is_market else order.tif.name.lower()) in rules.late


def rescaled(response: Response, ticks: int, lots: int) -> Response:
    """A response in finer steps."""
    return msgspec.structs.replace(
        response,
        tick=response.tick * ticks,
        lots=response.lots * lots,
        left=response.left * lots,
        filled=response.filled * lots,
        size=response.size * lots,
    )


class Mail:
    """
    Carries requests to the venue and answers back.

    About one order nothing overtakes: a request arrives, and an answer is received, no earlier than the one before. Between
    orders the times decide, and at equal times the order of sending.

    Args:
        latency: How long each takes.
        doubt: Where answers are counted that were held back to their cause.
        blocks: Blocks of the venues that work in blocks.

    Attributes:
        next_ns: When the next request arrives or answer is received; `NEVER_NS` if there is none.
    """

    def __init__(self, latency: LatencyModel, doubt: Doubt, blocks: Mapping[str, BlockRules] | None = None) -> None:
        self._blocks = blocks or {}
        self._latency = latency
        self._doubt = doubt
        self.next_ns = NEVER_NS
        self._sequence = 0
        self._due: list[tuple[int, int, int, Request]] = []
        self._answers: list[tuple[int, int, Response]] = []
        #: Of each order when the last request about it arrives, and when the last answer is received.
        self._arrives: dict[int, int] = {}
        self._received: dict[int, int] = {}

    def _look(self) -> None:
        """See what comes next: it is asked for at every frame, and changes far less often."""
        due = self._due[0][0] if self._due else NEVER_NS
        self.next_ns = min(due, self._answers[0][0]) if self._answers else due

    def send(self, now_ns: int, request: Request, orders: Iterable[OwnOrder]) -> int | None:
        """
        Send a request that is about those orders.

        Returns:
            None, or when its sender hears that it was lost.
        """
        entry = self._latency.entry_ns(request.venue, request.code, now_ns)
        if entry < 0:
            return now_ns - entry
        arrival = now_ns + entry
        rules = self._blocks.get(request.venue) if self._blocks else None
        if rules is not None and _is_late(request, rules):
            arrival = rules.end_of(arrival)
        for order in orders:
            arrival = max(arrival, self._arrives.get(order.order_id, arrival))
        if request.order is not None:
            self._arrives[request.order.order_id] = arrival
        heapq.heappush(self._due, (arrival, _ARRIVAL, request.number, request))
        if arrival < self.next_ns:
            self.next_ns = arrival
        return None

    def do_at(self, at_ns: int, request: Request) -> None:
        """Let the venue do something by itself."""
        self._sequence += 1
        heapq.heappush(self._due, (at_ns, _OWN_DOING, self._sequence, request))
        self._look()

    def pop_due(self, until_ns: int) -> tuple[int, Request] | None:
        """The next thing that happens at the venue by a time, with its time; None if there is none."""
        if not self._due or self._due[0][0] > until_ns:
            return None
        at_ns, _, _, request = heapq.heappop(self._due)
        self._look()
        return at_ns, request

    def pop_all_due(self) -> list[Request]:
        """All that was still to happen at the venue, in order, but for the times that the keeper of the money asked for."""
        waiting = [each for each in sorted(self._due, key=lambda each: each[:3]) if not each[3].is_wake]
        self._due = [each for each in self._due if each[3].is_wake]
        heapq.heapify(self._due)
        self._look()
        return [request for _, _, _, request in waiting]

    def answer(self, response: Response, venue: str, code: RequestCode | None) -> None:
        """Send an answer back, to a request of that kind; None: to none. It is never received before its cause."""
        latency = self._latency.response_ns(venue, code, response.venue_ns)
        if latency < 0:
            latency = 0
            self._doubt.clipped_answers += 1
        self.answer_at(response.venue_ns + latency, response)

    def answer_at(self, heard_ns: int, response: Response) -> None:
        """Let an answer be received at a time, or with the one before about its order."""
        if response.order_id:
            heard_ns = max(heard_ns, self._received.get(response.order_id, heard_ns))
            self._received[response.order_id] = heard_ns
        self._sequence += 1
        heard = msgspec.structs.replace(response, received_ns=heard_ns)
        heapq.heappush(self._answers, (heard_ns, self._sequence, heard))
        if heard_ns < self.next_ns:
            self.next_ns = heard_ns

    def pop_heard(self, until_ns: int | None = None) -> Response | None:
        """The next answer that is received by a time; None if there is none. Without a time: whichever is next."""
        if not self._answers or (until_ns is not None and self._answers[0][0] > until_ns):
            return None
        response = heapq.heappop(self._answers)[2]
        self._look()
        return response

    def rescale(self, pair: int, ticks: int, lots: int) -> None:
        """Count what is under way about a pair in finer steps: as many new ticks and lots as an old one is."""
        for _, _, _, request in self._due:
            if request.pair == pair:
                request.tick *= ticks
                request.lots *= lots
                request.known_left *= lots
        self._answers = [
            (heard_ns, sequence, rescaled(each, ticks, lots) if each.pair == pair else each)
            for heard_ns, sequence, each in self._answers
        ]

    def forget(self, order_id: int) -> None:
        """An order has ended, and nothing about it is under way."""
        self._arrives.pop(order_id, None)
        self._received.pop(order_id, None)


# -- orders that are good for a number of blocks alone, at venues that have such ----------------------------------------------
#
# They live in the memory of the validators. A cancel only tells them to forget one, so until its last block is over a match that
# one of them has made already may still be proposed: the venue acknowledges the cancel by best effort.


def stamp(rules: BlockRules | None, order: OwnOrder, now_ns: int) -> None:
    """
    Give an order that is sent its last block, which counts from the one under way, and the time at which that is over.

    Raises ConfigError where the length of a block is not known. At a venue without such orders nothing is given: it refuses it.
    """
    if not order.good_blocks or rules is None or not rules.short_term_blocks:
        return
    if not rules.length_ns:
        raise ConfigError("good_til_blocks needs the length of a block, which no tape has: --assume block=1.1s")
    _set_last(rules, order, rules.block_of(now_ns) + order.good_blocks)


def _set_last(rules: BlockRules, order: OwnOrder, block: int) -> None:
    order.good_til, order.expires_ns = block, (block + 1) * rules.length_ns


def last_block_refusal(rules: BlockRules | None, order: OwnOrder, at_ns: int, *, is_new: bool) -> Reason | None:
    """
    Why a venue does not take an order with such a last block when it arrives, or its replacement; None if it does.

    What replaces an order has to be good for longer. It gets the blocks that were asked for at first, from now on, and one more
    than it had at least; and it has that last block then.
    """
    if not order.good_til or rules is None:
        return None
    block = rules.block_of(at_ns)
    last = order.good_til if is_new else max(block + order.good_blocks, order.good_til + 1)
    if block > last:
        return Reason.EXPIRY
    if last > block + rules.short_term_blocks:
        return Reason.INVALID
    _set_last(rules, order, last)
    return None


def leave(mail: Mail, rules: BlockRules | None, request: Request, order: OwnOrder, at_ns: int) -> Response | None:
    """
    A cancel of an order that rests has arrived: where that does not end it at once it ends later, by itself.

    Returns what the venue answers, which is that nothing has changed yet; None where the cancel ends the order.
    """
    if rules is None or not rules.best_effort_cancels or order.is_leaving or not rules.is_short(order):
        return None
    order.is_leaving = True
    end = msgspec.structs.replace(request, number=NO_REQUEST, reason=Reason.REQUESTED)
    mail.do_at(rules.gone_ns(at_ns, order.expires_ns or at_ns), end)
    said = (order.order_id, order.pair, ReportCode.LEAVING, StateCode.UNKNOWN, order.side, order.tick)
    return Response(0, at_ns, request.number, *said, 0, order.left, order.filled, order.size, 0, Reason.REQUESTED)
