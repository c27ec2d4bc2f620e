"""
The simulated exchange on our receive clock: the one that a live session can run, so live and replay are the same.

The market acts when its frame is received. A request sent at t is matched at t + entry, and what comes of it is reported
after the response latency, never before the frame that caused it. Nothing here reads a clock, and nothing is looked up
ahead: messages and requests come in, and answers come out when they are asked for.

What is due at one time happens in this order: what the venue does by itself (orders that expire, the dead man's switch),
requests that arrive, in the order they were sent, and then answers are received. All of that goes before a frame of the
same time. A frame is one instant: what its messages cause is computed at each, and reported after the last one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Final

import msgspec

from replay.backtest.admission import Clearing, Floor, refusal_of, switch_refusal, with_reason
from replay.backtest.desk import VenueDesk
from replay.backtest.gap_policy import Doubt, GapPolicy, failed_across, failed_in
from replay.backtest.gap_watch import GapWatch
from replay.backtest.mail import NO_REQUEST, Mail, Request, fields_of, last_block_refusal, leave, stamp
from replay.backtest.market import Market
from replay.backtest.receive_latency import LatencyModel
from replay.backtest.reports import Fill, fill_of, refusal_said
from replay.backtest.requests import NewOrder, OwnOrder, Refusal, Response, check_order, own_order
from replay.backtest.venue_facts import VenueFacts, facts_of
from replay.market.layout import Reason, ReportCode, RequestCode, StateCode, TifCode
from replay.market.rules import CancelEarly, Rules
from toolkit.books.orderbook import OrderBook
from toolkit.books.tracker import OrderBookTracker, TrackerState
from toolkit.errors import ConfigError
from toolkit.kernels.disk_cache import are_compiled, note_compiled
from toolkit.messages import (
    BestQuote,
    BookDiff,
    BookSnapshot,
    FundingInfo,
    Instrument,
    Message,
    StreamEvent,
    Trade,
)
from toolkit.timing.timers import NEVER_NS

__all__ = ["FRAMES_IN_PYTHON", "KERNELS", "Exchange"]

#: The core's kernels on the shelf.
KERNELS: Final = "matching"
#: As many frames, of a few events each, as plain Python matches in less time than compiling the core takes.
FRAMES_IN_PYTHON: Final = 50_000
_RESTS: Final = frozenset({TifCode.GTC, TifCode.POST_ONLY})
_MARKET: Final[frozenset[type[Message]]] = frozenset({BookDiff, BookSnapshot, BestQuote, Trade})
_AT_VENUE: Final = frozenset({StateCode.OPEN, StateCode.PARTIALLY_FILLED})


class Exchange:
    """
    Venues that take orders and match them against the market that messages tell of.

    Args:
        markets: The pairs; orders name them by their place here.
        rules: Rules of matching, for all venues or by venue.
        latency: How long requests and answers take.
        gap_policy: Rule for orders across a gap: kept, cancelled, or an error.
        compiled: Whether matching runs as machine code or plain Python, with the same results; None: as machine code where
            it has been compiled before.
        facts: Limits and words of venues, in place of those that come with the toolkit.
        clearing: Keeps the account's money at the venue; None: it is not kept there.

    Raises ConfigError without markets, or for one that is there twice.

    Attributes:
        is_compiled: Whether matching runs as machine code.
        markets: Markets as given; tick, lot and contract change as the messages say.
        tracker: The recorded books, and what else was last received of the pairs, also of those that are no markets.
        doubt: Counts of what rests on data that may be doubted.
        fills: Every execution so far, in order, at the venue: not all of them need be known to the owner.
        adopted: Orders that the venue has sent in the account's name, by id.
        hears_trades: Whether the venue does something at trades beside matching.
    """

    def __init__(
        self,
        markets: Sequence[Market],
        *,
        rules: Rules | Mapping[str, Rules],
        latency: LatencyModel,
        gap_policy: GapPolicy = GapPolicy.KEEP,
        compiled: bool | None = None,
        facts: Mapping[str, VenueFacts] | None = None,
        clearing: Clearing | None = None,
    ) -> None:
        if not markets:
            raise ConfigError("no market to trade on, expected at least one")
        self.markets = tuple(markets)
        self._places: dict[tuple[str, str], int] = {each.key: place for place, each in enumerate(markets)}
        if len(self._places) != len(markets):
            raise ConfigError("a market is there twice, expected each pair of a venue once")
        if compiled is None:
            compiled = are_compiled(KERNELS)
        self.is_compiled = compiled
        venues = dict.fromkeys(each.key.venue for each in markets)
        self._desks = {
            venue: VenueDesk(
                venue,
                {place: each for place, each in enumerate(markets) if each.key.venue == venue},
                len(markets),
                rules if isinstance(rules, Rules) else rules.get(venue, Rules()),
                (facts or {}).get(venue) or facts_of(venue),
                compiled=compiled,
                tell=self._collect,
                count_finer=self._count_finer,
            )
            for venue in venues
        }
        self._all_desks = tuple(self._desks.values())
        self._desk_of = [self._desks[each.key.venue] for each in markets]
        self._blocks = [desk.admission.facts.blocks for desk in self._desk_of]
        self._latency = latency
        self._follows_feed = latency.follows_feed
        self._policy = gap_policy
        self.tracker = OrderBookTracker(checked=True)
        self.doubt = Doubt()
        self._watch = GapWatch(len(markets), self.doubt)
        known = {desk.venue: desk.admission.facts.blocks for desk in self._all_desks}
        blocks = {venue: rules for venue, rules in known.items() if rules is not None and rules.length_ns}
        self._mail = Mail(latency, self.doubt, blocks)
        self.fills: list[Fill] = []
        self._own: dict[int, OwnOrder] = {}
        self._now = 0
        self._ids = count(1)
        self._numbers = 0
        self._switches: dict[str, int] = {}
        self._acted: dict[str, list[int]] = {}
        self.adopted: dict[int, OwnOrder] = {}
        self._clearing = clearing
        self.hears_trades = False
        if clearing is not None:
            new_id = partial(next, self._ids)
            floor = (self.markets, self.tracker, self._desk_of, self._mail, self._own, self.adopted)
            clearing.bind(Floor(*floor, self._collect, self._end, new_id))

    def note_compiled(self) -> None:
        """A run is over: if it was matched by machine code, that is there for the next one."""
        if self.is_compiled and any(desk.core.has_arrivals for desk in self._all_desks):
            note_compiled(KERNELS)

    # -- the market ------------------------------------------------------------------------------------------------

    @property
    def is_in_doubt(self) -> bool:
        """Whether a book is stale, or trades are not received, of a pair whose book held before."""
        return self._watch.open_count > 0

    def take(self, message: Message) -> OrderBook | None:
        """
        The market acts; instruments, marks and gaps are messages as well.

        Returns:
            The recorded book that the message changed; None if it changed none.

        Raises ConfigError for a price or size off the grid, and for orders across a gap where the policy is to fail.
        """
        book = self.tracker.apply(message)
        place = self._places.get((message.venue, message.trading_pair))
        if message.ts_recv > self._now:
            self._now = message.ts_recv
        if place is None:
            return book
        desk = self._desk_of[place]
        if type(message) in _MARKET:
            if self._follows_feed:
                self._latency.observe(message)
            if book is None and type(message) is BestQuote:
                return None  # it is no part of the book
            if desk.take(place, message, book, self._now):
                self._turn(place, desk)
            if self.hears_trades and type(message) is Trade and self._clearing is not None:
                self._clearing.hear_trade(place, message, self._now)
        elif isinstance(message, StreamEvent):
            self._hear(place, desk, message, book)
        elif isinstance(message, Instrument):
            desk.hear_instrument(place, message, self._now)
        elif isinstance(message, FundingInfo):
            desk.hear_funding(place, message)
            if self._clearing is not None:
                desk.settle()  # what the frame has executed before is held by then
                self._clearing.hear(place, message, self._now)
        return book

    def _count_finer(self, place: int, ticks: int, lots: int) -> None:
        """Count all that is known of a pair in its finer steps: as many new ticks and lots as an old one is."""
        scale = self.markets[place].scale
        for order in self._own.values():
            if order.pair == place and scale is not None:
                order.rescale(scale, ticks, lots)
        self._mail.rescale(place, ticks, lots)
        if self._clearing is not None:
            self._clearing.rescale(place, ticks, lots)
        self.fills = [
            msgspec.structs.replace(each, tick=each.tick * ticks, lots=each.lots * lots) if each.pair == place else each
            for each in self.fills
        ]

    def _hear(self, place: int, desk: VenueDesk, event: StreamEvent, book: OrderBook | None) -> None:
        """A stream was lost, or is received again."""
        if desk.take(place, event, book, self._now):
            self._turn(place, desk, event.cause, event.ts_start)
        if self._watch.hear(place, event, self._now):
            self._mark(place, desk)
        is_form = event.stream in desk.feeds[place].forms
        if self._watch.is_gap(place, event, self._now, is_form=is_form):
            self._mark(place, desk)
            self._apply_policy(place, desk)

    def _turn(self, place: int, desk: VenueDesk, cause: str = "", since_ns: int | None = None) -> None:
        """A book cannot be believed from now on, or can again."""
        if place not in desk.stale:
            self._watch.end(place, self._now)
        elif self._watch.begin(place, self._now, cause, since_ns=since_ns):
            self._mark(place, desk)

    def _mark(self, place: int, desk: VenueDesk) -> None:
        """What rests is uncertain from now on."""
        self._collect(desk, desk.flush())
        for order in desk.alive.values():
            if order.pair == place:
                self._watch.rests(place, order.order_id, is_new=not order.is_uncertain)
                order.is_uncertain = True

    def _apply_policy(self, place: int, desk: VenueDesk) -> None:
        across = [order for order in desk.alive.values() if order.pair == place]
        if not across or self._policy is GapPolicy.KEEP:
            return
        if self._policy is GapPolicy.FAIL:
            raise failed_across(self.markets[place].key, len(across))
        for order in across:
            self._end(desk, order, Reason.GAP, self._now)

    def _end(self, desk: VenueDesk, order: OwnOrder, reason: Reason, at_ns: int) -> None:
        if order.is_waiting and self._clearing is not None:
            self._collect(desk, [self._clearing.drop(at_ns, order, reason)])
            return
        came = desk.ask(
            RequestCode.CANCEL, at_ns, number=NO_REQUEST, id=order.order_id, pair=order.pair, reason=int(reason)
        )
        self._collect(desk, came)

    @property
    def queued(self) -> list[tuple[int, float | None]]:
        """What was ahead of orders as they came to rest, see `VenueDesk.queued`."""
        return [each for desk in self._all_desks for each in desk.queued]

    def rules(self, pair: int) -> Rules:
        """The rules of matching of a pair's venue."""
        return self._desk_of[pair].rules

    @property
    def has_market(self) -> bool:
        """Whether a book or a trade of any market was seen."""
        return any(feed.is_heard for desk in self._desks.values() for feed in desk.feeds.values())

    @property
    def only_desk(self) -> VenueDesk | None:
        """That of all markets; None where there are several, or where latency has to see every message."""
        return self._all_desks[0] if len(self._all_desks) == 1 and not self._follows_feed else None

    # -- time ------------------------------------------------------------------------------------------------------

    def pass_time(self, now_ns: int) -> None:
        """Market data up to this time have been taken in elsewhere."""
        self._now = max(self._now, now_ns)

    def next_due_ns(self) -> int:
        """When the next request arrives, order ends by itself or answer is received; `NEVER_NS` if there is none."""
        for desk in self._all_desks:
            if desk.is_pressing:
                self._collect(desk, desk.flush())
        return self._mail.next_ns

    def advance(self, until_ns: int) -> Iterator[Response]:
        """
        Let requests arrive up to a time of ours, that time included; the answers received by then, in order.

        What an answer makes its receiver ask for arrives after what is done here: go from one `next_due_ns` to the next.
        It happens as answers are taken: each order is, at each of its answers, as it is after that one.
        """
        self.next_due_ns()  # the market acts first
        while (due := self._mail.pop_due(until_ns)) is not None:
            self._arrive(*due)
        if until_ns > self._now:
            self._now = until_ns
        while (response := self._mail.pop_heard(until_ns)) is not None:
            yield self._deliver(response)

    def _deliver(self, response: Response) -> Response:
        order = self._own.get(response.order_id)
        if order is not None:
            order.take(response)
            if order.has_ended and not order.pending:
                del self._own[order.order_id]
                self._mail.forget(order.order_id)
        return response

    def close(self, now_ns: int) -> Iterator[Response]:
        """
        The session ends: what rests is cancelled, without latency, and everything is reported at once.

        Requests under way never arrive: orders among them are rejected. It happens as answers are taken, see `advance`.
        What is sent meanwhile waits for `drop_sent`.
        """
        yield from self.advance(now_ns)
        known, waiting = list(self._own.values()), self._mail.pop_all_due()
        for desk in self._desks.values():
            for order in list(desk.alive.values()):
                self._end(desk, order, Reason.SESSION_END, now_ns)
        yield from self._drop(now_ns, waiting, known)

    def drop_sent(self, now_ns: int) -> Iterator[Response]:
        """
        What was sent while the session closed, or after that, never arrives: orders among it are rejected.

        Its sender is better not called for these answers: it might send again at each.
        """
        yield from self._drop(now_ns, self._mail.pop_all_due(), list(self._own.values()))

    def _drop(self, now_ns: int, waiting: list[Request], orders: list[OwnOrder]) -> Iterator[Response]:
        for request in waiting:
            if request.number != NO_REQUEST and request.code is RequestCode.NEW:
                self._refuse(now_ns, request, Reason.SESSION_END)
        while (response := self._mail.pop_heard()) is not None:
            yield self._deliver(msgspec.structs.replace(response, received_ns=now_ns))
        for order in orders:
            order.pending.clear()
            self._mail.forget(order.order_id)
            self._own.pop(order.order_id, None)
        self._switches.clear()

    # -- requests --------------------------------------------------------------------------------------------------

    def submit(self, now_ns: int, order: NewOrder) -> OwnOrder:
        """
        Send an order; it is known under its id at once, and what the venue makes of it comes as responses.

        Raises ConfigError for what no venue has, see `check_order`, and for what needs an assumption, see `stamp`.
        """
        check_order(order, len(self.markets))
        own = own_order(next(self._ids), order, now_ns, self.markets[order.pair].scale)
        stamp(self._blocks[order.pair], own, now_ns)
        self._own[own.order_id] = own
        self._send(now_ns, self._about(RequestCode.NEW, own, tick=order.tick, lots=order.lots))
        return own

    def amend(self, now_ns: int, order: OwnOrder, *, tick: int, lots: int) -> Refusal | None:
        """Ask for another price or size (all of it, not what is left); None, or why it was not sent."""
        refusal = self._refusal(order)
        if refusal is None:
            self._send(now_ns, self._about(RequestCode.AMEND, order, tick=tick, lots=lots, known_left=order.left))
        return refusal

    def cancel(self, now_ns: int, order: OwnOrder) -> Refusal | None:
        """Ask for an order back; None, or why that was not sent."""
        refusal = self._refusal(order)
        if refusal is None:
            self._send(now_ns, self._about(RequestCode.CANCEL, order))
        return refusal

    def _refusal(self, order: OwnOrder) -> Refusal | None:
        if order.order_id not in self._own or order.has_ended:
            return Refusal.UNKNOWN_ID
        refuses = self._desk_of[order.pair].rules.cancel_early is CancelEarly.REFUSED
        return Refusal.PENDING if order.pending and refuses else None

    def cancel_all(self, now_ns: int, pair: int = -1) -> None:
        """
        Ask for all orders of a pair back, or for all there are.

        It arrives after every request about those orders that was sent before it, and cancels what rests then.
        """
        for venue in [self.markets[pair].key.venue] if pair >= 0 else self._desks:
            self._send(now_ns, Request(code=RequestCode.CANCEL_ALL, venue=venue, pair=pair))

    def schedule_cancel(self, now_ns: int, at_ns: int | None, venue: str | None = None) -> None:
        """
        Set the dead man's switch: at a time all orders of a venue are cancelled, unless it is set again before; None: never.

        Args:
            now_ns: When it is sent.
            at_ns: On the clock that recorded.
            venue: Name of the venue; None: each.
        """
        until = NEVER_NS if at_ns is None else at_ns
        for name in [venue] if venue is not None else self._desks:
            request = Request(code=RequestCode.CANCEL_ALL, venue=name, reason=Reason.SWITCH, at_ns=until)
            self._send(now_ns, request)

    def _send(self, now_ns: int, request: Request) -> None:
        """Send a request about one order, or about all of a venue, or of one pair of it."""
        self._numbers += 1
        request.number = self._numbers
        order = request.order
        orders: Sequence[OwnOrder]
        if order is not None:
            order.pending[request.number] = request.code
            orders = (order,)
        else:
            orders = [each for each in self._own.values() if self._is_about(request, each)]
        lost_ns = self._mail.send(now_ns, request, orders)
        if lost_ns is not None and order is not None:
            self._mail.answer_at(lost_ns, refusal_said(lost_ns, request, Reason.NONE))

    def _is_about(self, request: Request, order: OwnOrder) -> bool:
        return request.pair == order.pair or (request.pair < 0 and self._venue_of(order) == request.venue)

    def _about(
        self, code: RequestCode, order: OwnOrder, *, tick: int = 0, lots: int = 0, known_left: int = 0
    ) -> Request:
        venue, pair = self._venue_of(order), order.pair
        return Request(code=code, venue=venue, pair=pair, order=order, tick=tick, lots=lots, known_left=known_left)

    def _venue_of(self, order: OwnOrder) -> str:
        return self.markets[order.pair].key.venue

    # -- arrivals --------------------------------------------------------------------------------------------------

    def _arrive(self, at_ns: int, request: Request) -> None:
        if at_ns > self._now:
            self._now = at_ns
        desk = self._desks[request.venue]
        if request.number == NO_REQUEST:
            self._do_by_itself(at_ns, desk, request)
            return
        refusal = self._refused(at_ns, desk, request)
        if refusal is not None:
            self._refuse(at_ns, request, refusal)
            return
        order = request.order
        if order is None:
            if request.reason is Reason.SWITCH:
                self._set_switch(at_ns, desk, request)
                return
            for each in [each for each in desk.alive.values() if each.is_waiting and request.pair in (-1, each.pair)]:
                self._end(desk, each, Reason.REQUESTED, at_ns)
            came = desk.ask(RequestCode.CANCEL_ALL, at_ns, number=request.number, pair=request.pair)
            self._collect(desk, came, request.code)
            return
        is_held = order.is_waiting or (request.code is RequestCode.NEW and order.is_for_later)
        if is_held and self._clearing is not None:
            self.hears_trades |= desk.admission.facts.wakes_on_trades
            self._collect(desk, self._clearing.hold(at_ns, request, order), request.code)
            return
        if request.code is RequestCode.CANCEL and order.order_id in desk.alive:
            leaving = leave(self._mail, self._blocks[order.pair], request, order, at_ns)
            if leaving is not None:
                self._collect(desk, [leaving], request.code)
                return
        is_in_doubt = request.pair in desk.stale or self._watch.is_open(request.pair)
        if request.code is RequestCode.NEW and is_in_doubt and order.tif in _RESTS and not order.is_market:
            self._watch.comes(request.pair, order.order_id)
            order.is_uncertain = True
        self._collect(desk, desk.ask(request.code, at_ns, **fields_of(request, order)), request.code)
        is_lived = request.code is RequestCode.NEW or order.good_til
        if is_lived and order.order_id in desk.alive and order.expires_ns is not None:
            self._expire(order, max(at_ns, order.expires_ns))

    def _expire(self, order: OwnOrder, at_ns: int) -> None:
        request = self._about(RequestCode.CANCEL, order)
        request.reason = Reason.EXPIRY
        self._mail.do_at(at_ns, request)

    def _set_switch(self, at_ns: int, desk: VenueDesk, request: Request) -> None:
        acted = self._acted.get(request.venue, ())
        refusal = switch_refusal(desk.admission.facts, at_ns, request.at_ns, acted)
        if refusal is not None:
            self._refuse(at_ns, request, refusal)
            return
        turn = self._switches[request.venue] = self._switches.get(request.venue, 0) + 1
        if request.at_ns < NEVER_NS:
            own = msgspec.structs.replace(request, number=NO_REQUEST, turn=turn)
            self._mail.do_at(max(self._now, request.at_ns), own)

    def _do_by_itself(self, at_ns: int, desk: VenueDesk, request: Request) -> None:
        """An order's time is over, or the dead man's switch acts."""
        order = request.order
        if order is not None:
            # What has replaced it may be good for longer.
            is_over = request.reason is not Reason.EXPIRY or at_ns >= (order.expires_ns or 0)
            if order.order_id in desk.alive and is_over:
                self._end(desk, order, Reason.REQUESTED if order.is_leaving else request.reason, at_ns)
        elif request.is_wake:
            if self._clearing is not None:
                self._clearing.wake(at_ns)
        elif self._switches.get(request.venue) == request.turn:
            self._acted.setdefault(request.venue, []).append(at_ns)
            self._collect(desk, desk.flush())
            for order in list(desk.alive.values()):
                self._end(desk, order, Reason.SWITCH, at_ns)

    def _refused(self, at_ns: int, desk: VenueDesk, request: Request) -> Reason | None:
        """Why the venue does not take a request; None if it does."""
        if not desk.admission.spend(request.code, at_ns):
            return Reason.RATE_LIMIT
        order = request.order
        if order is None or request.code is RequestCode.CANCEL:
            return None
        # What the market did before may have ended orders, and has moved the price that one at market is valued at.
        desk.settle()
        is_new = request.code is RequestCode.NEW
        if is_new and request.pair in desk.stale and self._policy is not GapPolicy.KEEP:
            if self._policy is GapPolicy.FAIL and self._watch.is_open(request.pair):
                raise failed_in(self.markets[request.pair].key)
            return Reason.STALE
        refusal = refusal_of(
            self.markets[request.pair],
            desk.admission.facts,
            order,
            tick=0 if order.is_market else request.tick,
            lots=request.lots,
            reference=desk.reference(request.pair, order.side) if order.is_market else None,
        )
        refusal = refusal or last_block_refusal(self._blocks[order.pair], order, at_ns, is_new=is_new)
        if refusal is None and is_new and order.tif in _RESTS and not order.is_market:
            refusal = desk.crowded(request.pair)
        if refusal is None and self._clearing is not None:
            refusal = self._clearing.refusal(order, request.tick, request.lots)
        return refusal

    def _refuse(self, at_ns: int, request: Request, reason: Reason) -> None:
        response = with_reason(refusal_said(at_ns, request, reason), request, self._desks[request.venue])
        self._mail.answer(self._with_words(response, request.order), request.venue, request.code)

    # -- answers ---------------------------------------------------------------------------------------------------

    def _collect(self, desk: VenueDesk, came: list[Response], code: RequestCode | None = None) -> None:
        """What came of something at the venue: executions are fills, and each is answered after its time."""
        for response in came:
            order = self._own.get(response.order_id)
            if order is not None:
                if response.code is ReportCode.EXECUTED:
                    response = self._note_fill(order, response)
                if response.state in _AT_VENUE:
                    desk.alive[order.order_id] = order
                elif response.state is not StateCode.UNKNOWN:
                    desk.alive.pop(order.order_id, None)
            response = self._with_words(response, order)
            self._mail.answer(response, desk.venue, code if response.request >= 0 else None)

    def _note_fill(self, order: OwnOrder, response: Response) -> Response:
        self.fills.append(fill_of(response))
        if order.is_uncertain:
            self.doubt.uncertain_fills += 1
        return response if self._clearing is None else self._clearing.execute(order, response)

    def _with_words(self, response: Response, order: OwnOrder | None) -> Response:
        """With what the venue says when it refuses, and whether it is a guess."""
        if order is None or not (response.reason or order.is_uncertain):
            return response
        desk, market = self._desk_of[order.pair], self.markets[order.pair]
        desk.settle()
        text = desk.admission.facts.words_for(response.reason, response.state)
        if "{" in text:
            bid, ask = desk.best(order.pair)
            values = {"bid": bid, "ask": ask, "symbol": market.key.trading_pair}
            text = desk.admission.facts.text(Reason(response.reason), response.state, **values)
        return msgspec.structs.replace(response, text=text, is_uncertain=order.is_uncertain)

    # -- the tape goes elsewhere -----------------------------------------------------------------------------------

    #: An exchange is what a seek brings up to date.
    apply = take

    def clear(self) -> None:
        """Forget every book and what was said of instruments; orders stay."""
        self.tracker.clear()
        for desk in self._desks.values():
            desk.forget(self._now)

    def restore(self, state: TrackerState) -> None:
        """Go on from books of a checkpoint."""
        self.tracker.restore(state)
        for place, market in enumerate(self.markets):
            desk = self._desk_of[place]
            instrument = self.tracker.instrument(market.key)
            if instrument is not None:
                desk.hear_instrument(place, instrument, self._now)
            if market.key in self.tracker.keys:
                forms = self.fused_forms(market.key.trading_pair, market.key.venue)
                desk.join(place, self.tracker.book(market.key), forms, self._now)

    def fused_forms(self, trading_pair: str, venue: str) -> list[str]:
        """Forms of a pair's book seen so far."""
        return self.tracker.fused_forms(trading_pair, venue)
