"""
Whether a venue takes a request, by what it asks of orders at that time; the matching core sees those that it takes.

What it asks of the account's money, and what it does with that, is the business of a `Clearing`, which acts at the venue
through its `Floor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from replay.backtest.desk import VenueDesk
from replay.backtest.mail import NO_REQUEST, Mail, Request
from replay.backtest.market import Market
from replay.backtest.requests import OwnOrder, Response
from replay.backtest.scales import PairScale
from replay.backtest.venue_facts import VenueFacts
from replay.ledger.margin_rules import BandPrice
from replay.market.layout import Reason, RequestCode, StateCode, TifCode
from toolkit.books.tracker import OrderBookTracker
from toolkit.clock import NS_PER_S
from toolkit.messages import FundingInfo, Trade
from toolkit.timing.timers import NEVER_NS

__all__ = ["Clearing", "Floor", "is_far", "refusal_of", "switch_refusal", "with_reason"]

_DAY_NS: Final = 86_400 * NS_PER_S


@dataclass(slots=True)
class Floor:
    """
    What a clearing sees of an exchange, and can do there by itself, at once.

    Attributes:
        markets: The pairs.
        tracker: Books, rates and prices of the pairs, as last received.
        desks: Desk of each pair's venue.
        mail: Carries answers.
        own: Orders that are known, by id.
        adopted: Orders that the venue has sent in their owner's name, by id.
        collect: Takes in what came of something at the venue.
        end_order: Ends one order, for a reason, at a time.
        new_id: Gives the next id of an order.
    """

    markets: Sequence[Market]
    tracker: OrderBookTracker
    desks: Sequence[VenueDesk]
    mail: Mail
    own: MutableMapping[int, OwnOrder]
    adopted: MutableMapping[int, OwnOrder]
    collect: Callable[[VenueDesk, list[Response]], None]
    end_order: Callable[[VenueDesk, OwnOrder, Reason, int], None]
    new_id: Callable[[], int]

    def open_orders(self, venue: str) -> Iterator[OwnOrder]:
        """The orders that a venue has."""
        desk = next(desk for desk in self.desks if desk.venue == venue)
        return iter(desk.alive.values())

    def end(self, at_ns: int, places: Sequence[int], reason: Reason) -> None:
        """End the orders that rest in some pairs."""
        for desk in dict.fromkeys(self.desks[place] for place in places):
            self.collect(desk, desk.catch_up())
            for order in [order for order in desk.alive.values() if order.pair in places]:
                self.end_order(desk, order, reason, at_ns)

    def trade(self, at_ns: int, place: int, side: int, lots: int, tick: int | None, tag: str) -> OwnOrder:
        """Match an order in the account's name that takes what it finds up to a tick, or to the end of the book."""
        order = self._adopt(at_ns, place, side, lots, tick, tag)
        self.match(at_ns, order, order.tick, lots)
        return order

    def part_of(self, at_ns: int, whole: OwnOrder, lots: int, tick: int | None, tag: str) -> OwnOrder:
        """A part of an order, that takes what it finds up to a tick; it is to be matched yet."""
        part = self._adopt(at_ns, whole.pair, whole.side, lots, tick, tag)
        part.reduce_only = whole.reduce_only
        return part

    def _adopt(self, at_ns: int, place: int, side: int, lots: int, tick: int | None, tag: str) -> OwnOrder:
        order = OwnOrder(
            self.new_id(),
            place,
            side,
            tick or 0,
            lots,
            lots,
            StateCode.UNKNOWN,
            {},
            sent_ns=at_ns,
            tif=TifCode.IOC,
            is_market=tick is None,
            tag=tag,
            scale=self.markets[place].scale,
        )
        self.own[order.order_id] = self.adopted[order.order_id] = order
        return order

    def match(self, at_ns: int, order: OwnOrder, tick: int, lots: int) -> None:
        """Bring an order to the book, of that price and size."""
        desk = self.desks[order.pair]
        came = desk.ask(
            RequestCode.NEW,
            at_ns,
            number=NO_REQUEST,
            id=order.order_id,
            tick=tick,
            lots=lots,
            pair=order.pair,
            side=order.side,
            tif=int(order.tif),
            market=int(order.is_market),
            reduce=int(order.reduce_only),
        )
        self.collect(desk, came)

    def tell(self, place: int, response: Response) -> None:
        """Let the owner of the account hear of something."""
        self.mail.answer(response, self.desks[place].venue, None)

    def wake_at(self, at_ns: int) -> None:
        """Have `Clearing.wake` called at a time."""
        self.mail.do_at(at_ns, Request(code=RequestCode.CANCEL_ALL, venue=self.desks[0].venue))


class Clearing(Protocol):
    """Keeps the money of an account as the venue does."""

    def bind(self, floor: Floor) -> None:
        """Act there from now on."""

    def execute(self, order: OwnOrder, response: Response) -> Response:
        """An order was executed; what its owner hears of it, with the fee where that is not the pair's ordinary one."""

    def hear(self, place: int, message: FundingInfo, now_ns: int) -> None:
        """Rates and prices of a pair."""

    def hear_trade(self, place: int, message: Trade, now_ns: int) -> None:
        """A trade of a pair, where orders wait for one."""

    def hold(self, at_ns: int, request: Request, order: OwnOrder) -> list[Response]:
        """A request about an order that waits to be woken: to take it, amend it or give it back; what came of it."""

    def drop(self, at_ns: int, order: OwnOrder, reason: Reason) -> Response:
        """End an order that waits to be woken."""

    def refusal(self, order: OwnOrder, tick: int, lots: int) -> Reason | None:
        """Why the account may not have such an order, or its own order amended to it; None if it may."""

    def rescale(self, place: int, ticks: int, lots: int) -> None:
        """Count a pair in finer steps: as many new ticks and lots as an old one is."""

    def wake(self, at_ns: int) -> None:
        """It is a time that was asked for."""


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
        market: Market of the pair.
        facts: Facts of the venue.
        order: Terms of the order beside price and size.
        tick: Limit price, in ticks of the grid; 0: at market.
        lots: Size, in lots of the grid.
        reference: Price that an order at market is valued at; None where none is known.
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


def is_far(market: Market, desk: VenueDesk, place: int, side: int, tick: int) -> bool:
    """Whether a limit is outside of the venue's band; False where nothing is known of that, or of what it is around."""
    bands, scale = desk.admission.facts.bands, market.scale
    if bands is None or scale is None:
        return False
    around = desk.marks.get(place) if bands.price is BandPrice.MARK else desk.middle(place)
    low, high = bands.bounds(market.key.trading_pair, side)
    return around is not None and not around * low <= scale.price(tick) <= around * high


def switch_refusal(facts: VenueFacts, at_ns: int, until_ns: int, acts: Sequence[int]) -> Reason | None:
    """
    Why a venue does not take a setting of the dead man's switch; None if it does.

    Args:
        facts: Facts of the venue; a venue of which nothing is known has no rule.
        at_ns: When it arrives.
        until_ns: When it is to act; `NEVER_NS`: it is put out.
        acts: When it has acted.
    """
    rules = facts.switch
    if rules is None:
        return Reason.NOT_OFFERED if facts.date else None
    if until_ns >= NEVER_NS:
        return None
    if until_ns - at_ns < rules.least_ns:
        return Reason.INVALID
    today = sum(each // _DAY_NS == until_ns // _DAY_NS for each in acts)
    return Reason.RATE_LIMIT if rules.acts_per_day is not None and today >= rules.acts_per_day else None


def with_reason(response: Response, request: Request, desk: VenueDesk) -> Response:
    """A refusal with its reason in words, where it is of the dead man's switch; else as it is."""
    if request.reason is not Reason.SWITCH:
        return response
    said = _switch_said(desk.admission.facts, Reason(response.reason), response.venue_ns, request.at_ns)
    return msgspec.structs.replace(response, text=said)


def _switch_said(facts: VenueFacts, reason: Reason, at_ns: int, until_ns: int) -> str:
    """Why a setting of the dead man's switch was not taken, in words: no order that it is about says it."""
    rules = facts.switch
    if reason is Reason.INVALID and rules is not None:
        least, ahead = rules.least_ns / NS_PER_S, (until_ns - at_ns) / NS_PER_S
        return f"schedule_cancel is {ahead:g} s ahead where it arrives, expected {least:g} s or more"
    if reason is Reason.RATE_LIMIT and rules is not None and rules.acts_per_day is not None:
        return f"schedule_cancel came too often, or has acted {rules.acts_per_day} times that day"
    if reason is Reason.NOT_OFFERED:
        return "the venue has no schedule_cancel"
    return f"schedule_cancel was refused: {reason.name.lower()}"


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
