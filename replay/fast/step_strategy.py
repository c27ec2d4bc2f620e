"""
A step function as a strategy of the Python tier: the same calls with small objects in place of records.

For debugging, for paper, and for whatever the compiled run does not do; and it is what the compiled run is compared with.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, ClassVar, Final

from replay.backtest.scales import PairScale
from replay.fast.engine_layout import ACTS_MAX, Why
from replay.fast.step import Step
from replay.market.layout import TifCode
from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import Gap, OwnFill, OwnOrder
from toolkit.books.orderbook import OrderBook
from toolkit.messages import FundingKind, Side, Trade

__all__ = ["StepStrategy", "strategy_of"]

_SIDES: Final = (Side.BUY, Side.SELL)
_TIFS: Final = {TifCode.GTC: "GTC", TifCode.IOC: "IOC", TifCode.FOK: "FOK", TifCode.POST_ONLY: "GTC"}


class _Market:
    __slots__ = (
        "ask",
        "ask_size",
        "bid",
        "bid_size",
        "funding",
        "last_price",
        "last_side",
        "last_size",
        "lot",
        "mark",
        "stale",
        "tick",
    )

    def __init__(self) -> None:
        self.bid = self.ask = self.bid_size = self.ask_size = 0
        self.last_price = self.last_size = self.last_side = 0
        self.tick = self.lot = self.stale = 1
        self.mark = self.funding = math.nan


class _Mine:
    __slots__ = ("open_buys", "open_sells", "orders", "position")

    def __init__(self) -> None:
        self.position = self.open_buys = self.open_sells = self.orders = 0


class _Order:
    """An order as a step function sees it: what was known when it was asked for."""

    __slots__ = ("cancelling", "filled", "left", "number", "pair", "pending", "side", "size", "tag", "tick")

    def __init__(self, order: OwnOrder) -> None:
        sent = order.sent
        self.pair, self.side, self.tick, self.size = sent.pair, sent.side, sent.tick, sent.size
        self.left, self.filled, self.number = sent.left, sent.filled, order.number
        self.tag = int(order.tag or 0)
        self.pending = len(sent.pending)
        self.cancelling = sum(code.name == "CANCEL" for code in sent.pending.values())


class _Actions:
    """What `replay.fast.actions` calls in plain Python."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.pair = -1
        self.acts = 0

    def _scale(self, pair: int) -> PairScale:
        return _scale_of(self.ctx, self._name(pair))

    def _name(self, pair: int) -> str:
        if not 0 <= pair < len(self.ctx.pairs):
            raise IndexError(f"pair {pair} of {len(self.ctx.pairs)}")
        return self.ctx.pairs[pair]

    def _act(self) -> None:
        self.acts += 1
        if self.acts > ACTS_MAX:
            raise ValueError(f"{ACTS_MAX:,} requests in one call: is there a loop that does not end?")

    def send(self, pair: int, side: int, tick: int, lots: int, tif: int, market: int, reduce: int, tag: int) -> int:
        scale = self._scale(pair)
        self._act()
        if side not in (0, 1):
            raise ValueError(f"side {side!r}, expected 0 to buy or 1 to sell")
        if tif not in _TIFS or (market and tif == TifCode.POST_ONLY):
            raise ValueError(f"time in force {tif!r}, expected GTC, IOC, FOK or POST_ONLY")
        ctx = self.ctx
        call = ctx.sell if side else ctx.buy
        call(
            self._name(pair),
            scale.size(lots),
            None if market else scale.price(tick),
            tif=_TIFS[TifCode(tif)],
            post_only=tif == TifCode.POST_ONLY,
            reduce_only=bool(reduce),
            tag=str(tag) if tag else "",
        )
        return len(ctx.orders()) - 1

    def open_count(self) -> int:
        return len(self.ctx.orders())

    def _order(self, place: int) -> OwnOrder:
        orders = self.ctx.orders()
        if not 0 <= place < len(orders):
            raise IndexError(f"order {place} of {len(orders)}")
        return orders[place]

    def own(self, place: int) -> _Order:
        return _Order(self._order(place))

    def cancel(self, place: int) -> bool:
        order = self._order(place)
        if _Order(order).cancelling:
            return False
        self._act()
        return self.ctx.cancel(order)

    def amend(self, place: int, tick: int, lots: int) -> bool:
        order = self._order(place)
        if _Order(order).cancelling:
            return False
        scale = self._scale(order.sent.pair)
        self._act()
        price = None if order.is_market else scale.price(tick)
        return self.ctx.amend(order, price=price, size=scale.size(lots))

    def cancel_all(self, pair: int) -> int:
        if pair >= 0:
            self._name(pair)
        orders = self.ctx.orders()
        return sum(self.cancel(place) for place, each in enumerate(orders) if pair < 0 or each.sent.pair == pair)

    def keep(self, pair: int, tag: int, side: int, tick: int, lots: int, tif: int) -> int:
        self._name(pair)
        found = -1
        for place, each in enumerate(self.ctx.orders()):
            if each.sent.pair == pair and int(each.tag or 0) == tag:
                found = place
        if tick == 0:
            if found >= 0:
                self.cancel(found)
            return found
        if found < 0:
            return self.send(pair, side, tick, lots, tif, 0, 0, tag)
        order = _Order(self._order(found))
        if order.pending:
            return found
        if order.side != side:
            self.cancel(found)
        elif (order.tick, order.size) != (tick, lots):
            self.amend(found, tick, lots)
        return found

    def woken_pair(self) -> int:
        return self.pair

    def _side(self, pair: int, side: int) -> list[tuple[int, int]]:
        name, scale = self._name(pair), self._scale(pair)
        if side not in (0, 1):
            raise ValueError(f"side {side!r}, expected 0 for bids or 1 for asks")
        book = self.ctx.book(name)
        levels = (book.asks if side else book.bids).levels()
        return [(scale.tick_of(each.price), scale.lots_of(each.size)) for each in levels]

    def level(self, pair: int, side: int, place: int) -> tuple[int, int]:
        levels = self._side(pair, side)
        return levels[place] if 0 <= place < len(levels) else (0, 0)

    def size_within(self, pair: int, side: int, ticks: int) -> int:
        levels = self._side(pair, side)
        return sum(size for price, size in levels if abs(price - levels[0][0]) <= ticks)

    def price_to_fill(self, pair: int, side: int, lots: int) -> float:
        left, worth = lots, 0.0
        for price, size in self._side(pair, 1 - side):
            taken = min(left, size)
            worth += float(taken) * float(price)
            left -= taken
            if left == 0 and lots > 0:
                return worth / lots
        return math.nan


def _scale_of(ctx: Context, pair: str) -> PairScale:
    desk = ctx._desk
    return desk._market(desk._pairs.place(pair))[1]


class StepStrategy(Strategy):
    """What `strategy_of` completes."""

    step: ClassVar[Step]

    def on_start(self, ctx: Context) -> None:
        """Nothing that is known already is news."""
        step = self.step
        self._act = _Actions(ctx)
        self._q = [_Market() for _ in ctx.pairs]
        self._me = [_Mine() for _ in ctx.pairs]
        self._take_parameters()
        self._s = SimpleNamespace(**step.state)
        self._places = {pair: place for place, pair in enumerate(ctx.pairs)}
        self._tops = [self._top(ctx, pair) for pair in ctx.pairs]
        self._scales = [_scale_of(ctx, pair) for pair in ctx.pairs]
        self._slots = [-1 for _ in ctx.pairs]
        self._fills: dict[int, int] = {}
        self._is_gap = False
        self._call(ctx, Why.START, -1)

    def _take_parameters(self) -> None:
        """Parameters as they are from now on."""
        self._p = SimpleNamespace(**{name: getattr(self, name) for name in self.step.parameters})

    def _top(self, ctx: Context, pair: str) -> tuple[int, int, int, int]:
        scale, book = _scale_of(ctx, pair), ctx.book(pair)
        values = []
        for level in (book.best_bid, book.best_ask):
            values += [0, 0] if level is None else [scale.tick_of(level.price), scale.lots_of(level.size)]
        return values[0], values[1], values[2], values[3]

    def _scale(self, ctx: Context, place: int) -> PairScale:
        """What a pair is counted in; what is kept of it is counted in that as well, where it has become finer."""
        scale, before = _scale_of(ctx, ctx.pairs[place]), self._scales[place]
        if scale is not before:
            self._scales[place], market = scale, self._q[place]
            ticks, lots = int(before.tick / scale.tick), int(before.lot / scale.lot)
            market.last_price, market.last_size = market.last_price * ticks, market.last_size * lots
            bid, bid_size, ask, ask_size = self._tops[place]
            self._tops[place] = bid * ticks, bid_size * lots, ask * ticks, ask_size * lots
        return scale

    def _call(self, ctx: Context, why: Why, pair: int) -> None:
        step = self.step
        why &= step.wakes | (Why.TIMER if step.every_ns else Why(0))
        if not why:
            return
        for place, name in enumerate(ctx.pairs):
            market, mine, scale = self._q[place], self._me[place], self._scale(ctx, place)
            market.bid, market.bid_size, market.ask, market.ask_size = self._top(ctx, name)
            market.stale = int(ctx.book(name).is_stale)
            rules, funding = ctx.rules(name), ctx.funding(name)
            market.tick, market.lot = int(rules.tick / scale.tick), int(rules.size_step / scale.lot)
            if funding is not None and funding.kind is FundingKind.CURRENT:
                market.mark = math.nan if funding.mark_price is None else funding.mark_price
                market.funding = math.nan if funding.funding_rate is None else funding.funding_rate
            # In lots, as the compiled engine counts: a fee in kind is a part of one.
            size = ctx.position(name).traded
            mine.position = scale.lots_of(abs(size)) * (-1 if size < 0 else 1)
            orders = ctx.orders(name)
            mine.orders = len(orders)
            mine.open_buys = sum(each.sent.left for each in orders if each.side is Side.BUY)
            mine.open_sells = sum(each.sent.left for each in orders if each.side is Side.SELL)
        self._act.pair, self._act.acts = pair, 0
        step.function(ctx.now_ns, int(why), self._q, self._me, self._p, self._s, self._act)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """The timer of the step."""
        self._call(ctx, Why.TIMER, -1)

    def on_gap(self, ctx: Context, gap: Gap) -> None:
        """Told with the change of the book that it is."""
        self._is_gap = True

    def on_book(self, ctx: Context, book: OrderBook) -> None:
        """One call for all that a message changed."""
        place = next(each for each, name in enumerate(ctx.pairs) if ctx.book(name) is book)
        self._scale(ctx, place)
        why, top = Why.BOOK, self._top(ctx, ctx.pairs[place])
        if top != self._tops[place] and self.step.wakes & Why.QUOTE:
            gap_ns = self.step.min_gap_ns
            slot = ctx.now_ns // gap_ns if gap_ns else -1
            if slot < 0 or slot != self._slots[place]:
                self._slots[place], self._tops[place] = slot, top
                why |= Why.QUOTE
        if self._is_gap:
            self._is_gap = False
            why |= Why.GAP
        self._call(ctx, why, place)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        """The newest trade is part of what the step sees."""
        name = next(
            each
            for each in ctx.pairs
            if ctx.book(each).trading_pair == trade.trading_pair and ctx.book(each).venue == trade.venue
        )
        place = self._places[name]
        market, scale = self._q[place], self._scale(ctx, place)
        market.last_price, market.last_size = scale.tick_of(trade.price), scale.lots_of(trade.size)
        market.last_side = int(trade.aggressor_side is Side.SELL)
        self._call(ctx, Why.TRADE, place)

    def on_funding(self, ctx: Context, funding: Any) -> None:
        """Funding, mark or index price."""
        for place, name in enumerate(ctx.pairs):
            book = ctx.book(name)
            if (book.venue, book.trading_pair) == (funding.venue, funding.trading_pair):
                self._call(ctx, Why.FUNDING, place)

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        """An answer; where it is of an execution, `on_fill` follows and calls for both."""
        if self._fills.get(order.number, 0) == order.fill_count:
            if order.is_done and not order.is_awaited:
                self._fills.pop(order.number, None)
            self._call(ctx, Why.ORDER, order.place)

    def on_fill(self, ctx: Context, fill: OwnFill) -> None:
        """An execution."""
        order = fill.order
        self._fills[order.number] = order.fill_count
        if order.is_done and not order.is_awaited:
            del self._fills[order.number]
        self._call(ctx, Why.ORDER | Why.FILL, order.place)


def strategy_of(step: Step) -> type[Strategy]:
    """The step function as a class of strategies, with its parameters."""
    wakes = step.wakes
    attributes: dict[str, Any] = {
        "step": step,
        "wakes": Wakes(
            books=bool(wakes & (Why.BOOK | Why.QUOTE | Why.GAP)),
            trades=True,
            funding=bool(wakes & Why.FUNDING),
            every=f"{step.every_ns}ns" if step.every_ns else None,
        ),
        "__annotations__": {name: type(value) for name, value in step.parameters.items()},
        "__module__": step.function.__module__,
        "__doc__": step.__doc__,
        **step.parameters,
    }
    if not wakes & (Why.BOOK | Why.QUOTE | Why.GAP):
        attributes["on_book"] = Strategy.on_book
    return type(step.name, (StepStrategy,), attributes)
