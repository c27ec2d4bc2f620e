"""A class that does everything there is, by chance, in variants that leave out some of it: that it comes to the same is what counts."""

from __future__ import annotations

import random
from typing import Any, Final

from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import BookView, Gap, OwnFill, OwnOrder, Quote
from toolkit.messages import FundingInfo, Side, Trade

__all__ = ["Busy", "variant"]

#: Callbacks that a variant may do without, and what declares their calls.
_HOOKS: Final = {
    "on_quote": "quotes",
    "on_book": "books",
    "on_trade": "trades",
    "on_funding": "funding",
    "on_order": "",
    "on_fill": "",
    "on_gap": "",
    "on_stop": "",
}


class Busy(Strategy):
    """Looks at all that it is shown, and asks for whatever comes to its mind."""

    asset: str = ""  # whose money it looks at, where there are several accounts
    wakes = Wakes(quotes=True, books=True, trades=True, funding=True, every="200ms")

    def on_start(self, ctx: Context) -> None:
        self.sent: list[OwnOrder] = []
        ctx.set_timer("own", after="150ms")
        if ctx.rng.random() < 0.5:
            self.act(ctx)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        if name == "own":
            ctx.set_timer("own", after=f"{ctx.rng.randrange(1, 900)}ms")
        elif ctx.rng.random() < 0.1:
            ctx.cancel_timer("own")
        if name != "due":
            self.act(ctx)
        if ctx.rng.random() < 0.1:
            ctx.set_timer("due", at_ns=ctx.now_ns - 5)
        ctx.record(orders=len(ctx.orders()), equity=float(ctx.equity(self.asset or None)))

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        if ctx.rng.random() < 0.3:
            ctx.log("quote", quote=repr(quote), now=ctx.now_ns)
        if quote.bid_price is not None and ctx.rng.random() < 0.4:
            size = float(ctx.rules(quote.pair).size_step) * ctx.rng.randrange(1, 4)
            post_only = ctx.rng.random() < 0.5
            ctx.keep(quote.pair, "bid", Side.BUY, price=quote.bid_price, size=size, post_only=post_only)

    def on_book(self, ctx: Context, book: BookView) -> None:
        if ctx.rng.random() < 0.3:
            seen = (book, book.depth(3), book.bids.columns(), book.ts_event, book.ts_recv, book.mid_price)
            near = (book.spread_bps, book.imbalance(2), book.size_within("buy", 50), book.price_to_fill("sell", 3))
            ctx.log("book", seen=repr(seen), near=repr(near), old=book.staleness_ns(ctx.now_ns))

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        if ctx.rng.random() < 0.2:
            book = ctx.book(ctx.pairs[0])
            ctx.log("trade", trade=repr(trade), best=repr((book.best_bid, book.best_ask)))
        if ctx.rng.random() < 0.3:
            self.act(ctx)

    def on_funding(self, ctx: Context, funding: FundingInfo) -> None:
        pair = ctx.pairs[0]
        ctx.log("funding", said=repr(funding), known=repr(ctx.funding(pair)), at=repr(ctx.liquidation_price(pair)))

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        if ctx.rng.random() < 0.5:
            known = (order.reason, order.text, order.left, order.filled, order.is_uncertain, order.is_awaited)
            ctx.log(repr(order), known=repr(known), fills=order.fill_count)
        if ctx.rng.random() < 0.1:
            self.act(ctx)

    def on_fill(self, ctx: Context, fill: OwnFill) -> None:
        money = (ctx.position(fill.pair), ctx.equity(self.asset or None), ctx.balance(self.asset or None))
        ctx.log("fill", fill=repr(fill), money=repr(money))
        if ctx.rng.random() < 0.2:
            self.act(ctx)

    def on_gap(self, ctx: Context, gap: Gap) -> None:
        ctx.log("gap", gap=repr(gap))
        if ctx.rng.random() < 0.5:
            ctx.cancel_all(gap.pair)

    def on_stop(self, ctx: Context) -> None:
        ctx.log("end", orders=repr(ctx.orders()), held=repr([ctx.position(pair) for pair in ctx.pairs]))
        self.act(ctx)

    def act(self, ctx: Context) -> None:
        rng = ctx.rng
        pair = ctx.pairs[rng.randrange(len(ctx.pairs))]
        book, rules = ctx.book(pair), ctx.rules(pair)
        bid, ask = book.bids.best_price, book.asks.best_price
        if bid is None or ask is None:
            return
        size = float(rules.size_step) * rng.randrange(1, 8)
        orders = ctx.orders(pair)
        if self.sent and rng.random() < 0.2:
            ctx.log("sent", orders=repr([(each, each.state, each.left, each.is_uncertain) for each in self.sent[-4:]]))
        what = rng.randrange(12)
        if what == 0:
            ctx.buy(pair, size, rules.ticks_up(ask, rng.randrange(4)), tif="IOC")
        elif what == 1:
            ctx.sell(pair, size, rules.ticks_down(bid, rng.randrange(4)), tif="FOK")
        elif what == 2:
            self.sent.append(ctx.buy(pair, size, bid, post_only=True, tag="first"))
        elif what == 3:
            self.sent.append(ctx.sell(pair, size, ask))
        elif what == 4:
            ctx.sell(pair, size, reduce_only=rng.random() < 0.5)
        elif what == 5:
            ctx.buy(pair, size)
        elif what in (6, 7) and orders:
            order, is_priced = rng.choice(orders), rng.random() < 0.7
            price = rules.ticks_down(bid, rng.randrange(4)) if is_priced and not order.is_market else None
            ctx.amend(order, price=price, size=size)
        elif what in (8, 9) and orders:
            ctx.cancel(rng.choice(orders))
        elif what == 10:
            kept = None if rng.random() < 0.3 else rules.ticks_up(ask, rng.randrange(3))
            ctx.keep(pair, "ask", Side.SELL, price=kept, size=size)
        elif len(orders) > 5:
            ctx.cancel_all(pair if rng.random() < 0.5 else None)


def variant(seed: int) -> type[Strategy]:
    """`Busy` without some of its callbacks, called at other times."""
    chance = random.Random(seed)
    left_out = {name for name in _HOOKS if chance.random() < 0.35} if chance.random() < 0.7 else set()
    names: dict[str, Any] = {name: value for name, value in vars(Busy).items() if name not in left_out}
    declared: dict[str, Any] = {flag: name not in left_out for name, flag in _HOOKS.items() if flag}
    gap = "90ms" if declared["quotes"] and chance.random() < 0.3 else None
    names["wakes"] = Wakes(every=chance.choice(("200ms", "37ms", "1s")), min_gap=gap, **declared)
    names["__annotations__"] = {"asset": str}
    names.pop("__dict__", None)
    names.pop("__weakref__", None)
    return type("Busy", (Strategy,), names)
