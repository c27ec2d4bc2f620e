"""
The strategy's side of trading: what it asks for is checked, sent and written down; what comes back is received here.

What is nonsense raises at the strategy's own line. What a limit of risk forbids is not sent, and ends as `failed`. What
the venue refuses comes back as its answer.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from replay.backtest.market import MarketRules
from replay.backtest.requests import NewOrder, Notice, NoticeKind, Response
from replay.backtest.requests import OwnOrder as SentOrder
from replay.backtest.scales import PairScale
from replay.ledger.money import PRICE_DECIMALS, SIZE_DECIMALS, amount, price_of, size_of, units_of
from replay.market.layout import BUY, SELL, ReportCode, Role, StateCode, TifCode
from replay.results.run_record import FillRow
from replay.results.run_recorder import RunRecorder
from replay.strategy.asked import (
    PLAIN,
    StepCounts,
    Terms,
    checked_order,
    lots_asked,
    noted,
    terms_said,
    tick_asked,
    time_ns_asked,
)
from replay.strategy.limits import RequestRate, RiskLimits
from replay.strategy.pair_rules import PairRules
from replay.strategy.pairs import RunPairs
from replay.strategy.views import OwnFill, OwnOrder, PositionView, Tif
from toolkit.account_messages import OrderState
from toolkit.errors import ConfigError
from toolkit.keys import PairName
from toolkit.messages import Side

if TYPE_CHECKING:
    from replay.backtest.exchange import Exchange

__all__ = ["ACTS_MAX", "Desk"]

_TIFS: Final = {Tif.GTC: TifCode.GTC, Tif.IOC: TifCode.IOC, Tif.FOK: TifCode.FOK, Tif.GTD: TifCode.GTC}
#: Requests and notes of one callback; more are a loop that was not meant.
ACTS_MAX: Final = 10_000
_SIZE: Final = 10**SIZE_DECIMALS

_NO_VIEW: Final = (None, PositionView(0.0, None, Decimal(0), Decimal(0), False, 0.0))
#: Looked up, since asking an enumeration for its value is a call.
_WORDS: Final = {each: each.value for each in (*Side, *OrderState)}


class Desk:
    """
    Sends orders and hears of them.

    Args:
        exchange: The venue.
        recorder: Writes down what is sent and received, and keeps the money.
        pairs: The pairs of the run.
        limits: Limits of risk; an order that exceeds one is not sent.
        name: Client ids begin with it.

    Attributes:
        now_ns: The session's time.
        acts: Requests of the callback under way.
        failed: Orders that a limit kept from being sent, that the strategy does not know of yet.
        is_halted: Whether the limit of loss was reached.
    """

    def __init__(
        self, exchange: Exchange, recorder: RunRecorder, pairs: RunPairs, limits: RiskLimits, name: str
    ) -> None:
        self._exchange = exchange
        self._recorder = recorder
        self._pairs = pairs
        self._limits = limits
        self._rate = None if limits.orders_per_s_max is None else RequestRate(limits.orders_per_s_max)
        self._name = name
        self._count = 0
        #: The number of each order by its id at the exchange, which also counts what the venue sends by itself.
        self._numbers: dict[int, int] = {}
        #: Those that have not ended, by their number; and all that the venue may still speak of, by its id.
        self._open: dict[int, OwnOrder] = {}
        self._by_id: dict[int, OwnOrder] = {}
        self._tagged: dict[tuple[int, str], OwnOrder] = {}
        self._uncertain: set[int] = set()
        #: Positions as they were shown last, with what they follow from.
        self._views: dict[int, tuple[tuple[int, int, int, int], PositionView]] = {}
        self._ticks, self._sizes = StepCounts(self._counted_tick), StepCounts(self._counted_lots)
        self.now_ns = 0
        self.acts: list[tuple[Any, ...]] = []
        self.failed: deque[OwnOrder] = deque()
        self.is_halted = False

    # -- what is known -----------------------------------------------------------------------------------------

    def _market(self, place: int) -> tuple[MarketRules, PairScale]:
        market = self._exchange.markets[place]
        rules = market.rules_at()
        if rules is None or market.scale is None:
            raise ConfigError(f"{self._pairs.names[place]}: tick and lot are not known yet")
        return rules, market.scale

    def place(self, pair: PairName) -> int:
        """The place of a pair."""
        return self._pairs.place(pair)

    def rules(self, pair: PairName) -> PairRules:
        """What the venue asks of orders."""
        place = self._pairs.place(pair)
        rules, _ = self._market(place)
        market = self._recorder.ledger.markets[place]
        fees, contract = market.fees, market.contract
        return PairRules(
            pair=self._pairs.names[place],
            tick=rules.tick,
            size_step=rules.lot,
            min_notional=rules.min_notional,
            price_figures_max=rules.figures,
            maker_fee=Decimal(0) if fees is None else fees.maker,
            taker_fee=Decimal(0) if fees is None else fees.taker,
            contract_value=None if contract is None else contract.contract_value,
        )

    def position(self, pair: PairName) -> PositionView:
        """What is held."""
        place = self._pairs.place(pair)
        ledger = self._recorder.ledger
        position = ledger.positions[place]
        if not position.turnover:
            return PositionView(0.0, None, Decimal(0), Decimal(0), False, 0.0)
        # What does not go by the mark is made once for each change of it.
        now = (position.size, position.open_worth, position.realized, position.bought - position.sold)
        state, view = self._views.get(place, _NO_VIEW)
        if state != now:
            entry, realized = ledger.entry_price_near(place), amount(position.realized)
            view = PositionView(position.size / _SIZE, entry, Decimal(0), realized, False, now[3] / _SIZE)
            self._views[place] = now, view
        size, entry, _, realized, _, traded = view
        return PositionView(size, entry, amount(ledger.unrealized(place)), realized, place in self._uncertain, traded)

    def equity(self, asset: str | None) -> Decimal:
        """Cash and positions at their marks."""
        return amount(self._recorder.ledger.equity(self._account(asset)))

    def balance(self, asset: str | None) -> Decimal:
        """Cash, and what open positions cost at entry."""
        return amount(self._recorder.ledger.wallet(self._account(asset)))

    def _account(self, asset: str | None) -> str:
        accounts = self._recorder.ledger.accounts
        if asset is None and len(accounts) == 1:
            return next(iter(accounts))
        if asset not in accounts:
            there = ", ".join(accounts) or "none"
            asked = "no currency was named" if asset is None else f"no account in {asset!r}"
            raise ConfigError(f"{asked}, expected one of {there}")
        return asset

    def open_orders(self, pair: PairName | None) -> tuple[OwnOrder, ...]:
        """Those that have not ended, in the order they were sent."""
        if pair is None:
            return tuple(self._open.values())
        place = self._pairs.place(pair)
        if len(self._pairs.keys) == 1:
            return tuple(self._open.values())
        return tuple(order for order in self._open.values() if order.place == place)

    @property
    def is_active(self) -> bool:
        """Whether any order is open, or anything held."""
        return bool(self._open) or any(position.size for position in self._recorder.ledger.positions)

    @property
    def open_count(self) -> int:
        """Orders that have not ended."""
        return len(self._open)

    # -- requests ----------------------------------------------------------------------------------------------

    def send(
        self,
        pair: PairName,
        side: Side,
        size: float,
        price: float | None,
        tif: str,
        post_only: bool,
        reduce_only: bool,
        expires_ns: int | None,
        tag: str,
        terms: Terms = PLAIN,
    ) -> OwnOrder:
        """Send an order."""
        place = self._pairs.place(pair)
        name = self._pairs.names[place]
        _, scale = self._market(place)
        code = _TIFS.get(tif)
        if code is None:
            raise ConfigError(f"{name}: tif is {tif!r}, expected one of {', '.join(_TIFS)}")
        # As the log has them: an array's element would do as well, and has no form there.
        tif, post_only, reduce_only = str(tif), bool(post_only), bool(reduce_only)
        if (tif == Tif.GTD) != (expires_ns is not None):
            raise ConfigError(
                f"{name}: GTD and expires_ns go together, found tif={tif!r} and expires_ns={expires_ns!r}"
            )
        if post_only and (price is None or code is not TifCode.GTC):
            raise ConfigError(
                f"{name}: a post-only order needs a price, and tif GTC or GTD; found {tif}, price {price!r}"
            )
        if expires_ns is not None:
            expires_ns = time_ns_asked(f"{name}: expires_ns", expires_ns)
        tag = str(noted("tag", tag))
        lots = self._lots(place, scale, size)
        tick = 0 if price is None else self._tick(place, scale, price)
        trigger, twap_ns, blocks = None, 0, 0
        if terms is not PLAIN:
            trigger = terms.trigger(name, side, partial(self._tick, place, scale))
            twap_ns = terms.twap_ns(name, is_plain=price is None and trigger is None and code is TifCode.GTC)
            blocks = terms.blocks(name, is_plain=trigger is None and expires_ns is None)
        order = NewOrder(
            pair=place,
            side=BUY if side is Side.BUY else SELL,
            lots=lots,
            tick=tick,
            tif=TifCode.POST_ONLY if post_only else code,
            is_market=price is None,
            reduce_only=reduce_only,
            expires_ns=expires_ns,
            tag=tag,
            trigger=trigger,
            twap_ns=twap_ns,
            good_blocks=blocks,
        )
        forbidden = self._forbidden(order, scale, lots)
        self._count += 1
        if forbidden:
            sent = SentOrder(0, place, order.side, tick, lots, lots, StateCode.UNKNOWN, {})
            sent.sent_ns, sent.is_market = self.now_ns, order.is_market
            sent.reduce_only, sent.tag = reduce_only, order.tag
        else:
            sent = self._exchange.submit(self.now_ns, order)
            self._numbers[sent.order_id] = self._count
        own = OwnOrder(
            number=self._count,
            client_id=f"{self._name}-{self._count}",
            key=self._pairs.keys[place],
            pair=name,
            place=place,
            side=side,
            market=self._exchange.markets[place],
            sent=sent,
            tif=tif,
            is_post_only=post_only,
            failure=forbidden,
        )
        self.act(
            _WORDS[side],
            own.number,
            place,
            tick if price is not None else None,
            lots,
            tif,
            post_only,
            reduce_only,
            tag,
            expires_ns,
            *(() if terms is PLAIN else terms_said(trigger, twap_ns, blocks)),
        )
        if forbidden:
            self.failed.append(own)
        else:
            self._open[own.number] = self._by_id[sent.order_id] = own
            self._note_state(own, None)
        if tag:
            self._tagged[(place, own.tag)] = own
        return own

    def amend(self, order: OwnOrder, price: float | None, size: float | None) -> bool:
        """Ask for another price or size."""
        order = checked_order(order)
        if price is None and size is None:
            raise ConfigError(f"{order.client_id}: neither price nor size is given, expected one of them")
        if order.is_done or order.state is OrderState.PENDING_CANCEL:
            return False
        _, scale = self._market(order.place)
        if order.is_market and price is not None:
            raise ConfigError(f"{order.client_id} is a market order, which has no price to amend")
        tick = order.sent.tick if price is None else self._tick(order.place, scale, price)
        lots = order.sent.size if size is None else self._lots(order.place, scale, size)
        wanted = NewOrder(
            pair=order.place,
            side=order.sent.side,
            lots=lots,
            tick=tick,
            reduce_only=order.is_reduce_only,
            tag=order.tag,
        )
        forbidden = self._forbidden(wanted, scale, lots - order.sent.size)
        self.act("amend", order.number, tick, lots, forbidden)
        if forbidden:
            return False
        return self._exchange.amend(self.now_ns, order.sent, tick=tick, lots=lots) is None

    def cancel(self, order: OwnOrder) -> bool:
        """Ask for an order back."""
        order = checked_order(order)
        if order.is_done or order.state is OrderState.PENDING_CANCEL:
            return False
        self.act("cancel", order.number)
        return self._exchange.cancel(self.now_ns, order.sent) is None

    def cancel_all(self, pair: PairName | None) -> int:
        """Ask for all orders back, one by one."""
        return sum([self.cancel(order) for order in self.open_orders(pair)])

    def schedule_cancel(self, at_ns: int | None, venue: str | None) -> None:
        """Set the dead man's switch of a venue, or of all, or put it out."""
        if at_ns is not None:
            at_ns = time_ns_asked("schedule_cancel", at_ns)
        known = {key.venue for key in self._pairs.keys}
        if venue is not None and venue not in known:
            raise ConfigError(f"schedule_cancel: no venue {venue!r} in this run, expected {' or '.join(sorted(known))}")
        self.act("schedule_cancel", at_ns, venue)
        self._exchange.schedule_cancel(self.now_ns, at_ns, venue)

    def keep(
        self, pair: PairName, tag: str, side: Side, price: float | None, size: float, post_only: bool
    ) -> OwnOrder | None:
        """Have one order of a tag."""
        if not tag:
            raise ConfigError("keep needs a tag by which it finds its order, found an empty one")
        tag = str(noted("tag", tag))
        place = self._pairs.place(pair)
        order = self._tagged.get((place, tag))
        if order is not None and order.is_done:
            order = None
        if price is None:
            if order is not None:
                self.cancel(order)
            return order
        if order is None:
            return self.send(pair, side, size, price, Tif.GTC, post_only, False, None, tag)
        _, scale = self._market(place)
        tick, lots = self._tick(place, scale, price), self._lots(place, scale, size)
        if order.is_awaited:
            return order
        if order.side is not side:
            self.cancel(order)
        elif (order.sent.tick, order.sent.size) != (tick, lots):
            self.amend(order, price, size)
        return order

    def _tick(self, place: int, scale: PairScale, price: Any) -> int:
        return self._ticks.of(place, self._market(place)[0], scale, price)

    def _lots(self, place: int, scale: PairScale, size: Any) -> int:
        return self._sizes.of(place, self._market(place)[0], scale, size)

    def _counted_tick(self, place: int, rules: MarketRules, scale: PairScale, price: Any) -> int:
        return tick_asked(self._pairs.names[place], rules, scale, price, partial(self.rules, self._pairs.keys[place]))

    def _counted_lots(self, place: int, rules: MarketRules, scale: PairScale, size: Any) -> int:
        return lots_asked(self._pairs.names[place], rules, scale, size)

    def _forbidden(self, order: NewOrder, scale: PairScale, more_lots: int) -> str:
        """The limit that keeps an order from being sent; empty where none does."""
        limits = self._limits
        if self.is_halted and not order.reduce_only:
            return "limit_loss"
        if limits.order_size_max is not None and scale.lot * order.lots > limits.order_size_max:
            return "limit_order_size"
        if limits.position_max is not None and not order.reduce_only:
            held = size_of(self._recorder.ledger.positions[order.pair].size)
            waiting = sum(
                each.sent.left
                for each in self._open.values()
                if each.place == order.pair and each.sent.side == order.side
            )
            after = scale.lot * (waiting + more_lots)
            if abs(held + (after if order.side == BUY else -after)) > limits.position_max and more_lots > 0:
                return "limit_position"
        if self._rate is not None and not self._rate.takes(self.now_ns):
            return "limit_orders_per_s"
        return ""

    def check_loss(self) -> bool:
        """Whether the limit of loss has been reached just now."""
        most = self._limits.loss_max
        if most is None or self.is_halted:
            return False
        ledger = self._recorder.ledger
        for name, account in ledger.accounts.items():
            if amount(account.start + account.transfers - ledger.equity(name)) >= most:
                self.is_halted = True
                return True
        return False

    def act(self, *what: Any) -> None:
        """Write down what the callback under way has asked for. Raises ConfigError for more than anyone means."""
        if len(self.acts) >= ACTS_MAX:
            raise ConfigError(f"{ACTS_MAX:,} requests and notes in one callback: is there a loop that does not end?")
        self.acts.append(what)

    # -- notes -------------------------------------------------------------------------------------------------

    def note(self, text: str, values: Mapping[str, object]) -> None:
        """A line of the decision log."""
        kept = {str(noted("name", name)): noted(name, value) for name, value in values.items()}
        self.act("log", str(noted("text", text)), kept)

    def record(self, values: Mapping[str, float]) -> None:
        """Values of series."""
        for name, value in values.items():
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError):
                number = math.nan
            if not math.isfinite(number):
                raise ConfigError(f"record: {name} is {value!r}, expected a finite number")
            self._recorder.series(self.now_ns, name, number)

    def number_of(self, order_id: int) -> int:
        """The number of an order by its id at the exchange."""
        return self._numbers[order_id]

    # -- answers -----------------------------------------------------------------------------------------------

    def fail_next(self) -> OwnOrder:
        """The first order that a limit kept from being sent, written down as ended."""
        order = self.failed.popleft()
        self._note_state(order, None)
        return order

    def hear(self, response: Response) -> tuple[OwnOrder | None, OwnFill | None]:
        """Take in an answer: which order it is about, and what was executed of it."""
        order = self._by_id.get(response.order_id) or self._adopted(response)
        if order is None:
            if response.code is ReportCode.REFUSED and not response.order_id:
                # Of what is asked of a venue and not of an order this alone can be refused, and no callback hears of it.
                self._recorder.count("schedule_cancel_refused")
            return None, None
        fill = self._execute(order, response) if response.code is ReportCode.EXECUTED else None
        if order.is_done:
            self._open.pop(order.number, None)
            if not order.is_awaited:
                self._by_id.pop(response.order_id, None)
            if self._tagged.get((order.place, order.tag)) is order:
                del self._tagged[(order.place, order.tag)]
        if response.is_too_late and order.sent.state is StateCode.FILLED:
            self._recorder.note_late()
        # A request that came too late is refused, and an order that has ended ends once.
        if not (order.is_done and response.code is ReportCode.REFUSED):
            self._note_state(order, response)
        return order, fill

    def _adopted(self, response: Response) -> OwnOrder | None:
        """An order that the venue has sent in the account's name, of which this is the first word; None for no such."""
        sent = self._exchange.adopted.get(response.order_id)
        return None if sent is None else self._adopt(sent)

    def _adopt(self, sent: SentOrder) -> OwnOrder:
        self._count += 1
        own = OwnOrder(
            number=self._count,
            client_id=f"{sent.tag}-{self._count}",
            key=self._pairs.keys[sent.pair],
            pair=self._pairs.names[sent.pair],
            place=sent.pair,
            side=Side.BUY if sent.side == BUY else Side.SELL,
            market=self._exchange.markets[sent.pair],
            sent=sent,
            tif=Tif.IOC,
            is_post_only=False,
            is_venues=True,
        )
        self._open[own.number] = own
        if sent.order_id:
            self._by_id[sent.order_id] = own
        return own

    def hear_notice(self, notice: Notice) -> tuple[OwnOrder | None, OwnFill | None]:
        """Take in what the venue did with the money; of a position that it took over, an order that was filled by it."""
        recorder = self._recorder
        if notice.kind is NoticeKind.FUNDING:
            rate = size_of(notice.fraction)
            recorder.funding(notice.pair, self.now_ns, notice.venue_ns, notice.amount, rate, notice.held)
        elif notice.kind is NoticeKind.TRANSFER:
            recorder.transfer(notice.account, self.now_ns, notice.venue_ns, notice.amount)
        else:
            return self._take_over(notice)
        return None, None

    def _take_over(self, notice: Notice) -> tuple[OwnOrder, OwnFill]:
        _, scale = self._market(notice.pair)
        lots = abs(notice.held) // units_of(scale.lot, SIZE_DECIMALS)
        side = SELL if notice.held > 0 else BUY
        tick = max(1, notice.at_price // units_of(scale.tick, PRICE_DECIMALS))
        sent = SentOrder(0, notice.pair, side, tick, lots, 0, StateCode.FILLED, {}, filled=lots, tag="takeover")
        sent.sent_ns, sent.is_market, sent.scale = self.now_ns, True, scale
        order = self._adopt(sent)
        del self._open[order.number]
        entry = self._recorder.fill(
            FillRow(
                now_ns=self.now_ns,
                venue_ns=notice.venue_ns,
                pair=notice.pair,
                order_id=order.number,
                side=side,
                tick=tick,
                lots=lots,
                role=Role.TAKER,
                client_order_id=order.client_id,
                rate=0,
                cause="liquidation",
                at=(notice.at_price, abs(notice.held)),
            )
        )
        order.fill_count += 1
        self._note_state(order, None)
        price, size = float(price_of(notice.at_price)), scale.size(lots)
        fee = amount(entry.fee)
        return order, OwnFill(entry.number + 1, order, order.pair, order.side, price, size, fee, False, notice.venue_ns)

    def _execute(self, order: OwnOrder, response: Response) -> OwnFill:
        entry = self._recorder.fill(
            FillRow(
                now_ns=self.now_ns,
                venue_ns=response.venue_ns,
                pair=response.pair,
                order_id=order.number,
                side=response.side,
                tick=response.tick,
                lots=response.lots,
                role=response.role,
                client_order_id=order.client_id,
                is_uncertain=response.is_uncertain,
                rate=response.rate,
                cause=order.tag if order.is_venues else None,
            )
        )
        order.fill_count += 1
        if response.is_uncertain:
            self._uncertain.add(response.pair)
        elif not entry.position:
            self._uncertain.discard(response.pair)
        _, scale = self._market(response.pair)
        return OwnFill(
            entry.number + 1,
            order,
            order.pair,
            order.side,
            scale.price(response.tick),
            scale.size(response.lots),
            amount(entry.fee),
            response.role == Role.MAKER,
            response.venue_ns,
            entry.fee_size / _SIZE,
        )

    def _note_state(self, order: OwnOrder, response: Response | None) -> None:
        """Write down an order as it is now."""
        sent, state = order.sent, order.state
        said = sent.text or (order.reason if sent.reason or state is OrderState.FAILED else "") or _WORDS[state]
        self._recorder.order_now(
            self.now_ns,
            None if response is None else response.venue_ns,
            order.place,
            order.number,
            state,
            said,
            sent.side,
            None if order.is_market else sent.tick,
            sent.size,
            sent.left,
            order.client_id,
            "twap" if sent.twap_ns else "market" if order.is_market else "limit",
            "post_only" if order.is_post_only else order.tif.lower(),
            order.is_reduce_only,
            sent.trigger,
        )

    @property
    def has_uncertain(self) -> bool:
        """Whether a position is uncertain: since an uncertain fill, until it is flat by one that is none."""
        return bool(self._uncertain)

    def shown_positions(self) -> Iterable[tuple[str, Decimal]]:
        """For people: the pairs of which something is held, and how much."""
        for place, position in enumerate(self._recorder.ledger.positions):
            if position.size:
                yield self._pairs.names[place], size_of(position.size)
