"""A strategy that does everything there is, at random: what it comes to is of no interest, that it comes to the same is."""

from __future__ import annotations

from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import Gap, OwnFill, OwnOrder, Quote
from toolkit.messages import FundingInfo, Side, Trade


class Churner(Strategy):
    """Sends, amends and cancels whatever comes to its mind."""

    pair: str = ""
    lots: int = 3
    wakes = Wakes(quotes=True, trades=True, funding=True, every="200ms")

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer("own", after="1500ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        if name == "own":
            ctx.set_timer("own", after="900ms")
        for pair in ctx.pairs if not self.pair else (self.pair,):
            self.act(ctx, pair)
        ctx.record(orders=len(ctx.orders()))

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        if quote.bid_price is not None and not quote.is_stale and ctx.rng.random() < 0.2:
            size = float(ctx.rules(quote.pair).size_step) * self.lots
            ctx.keep(quote.pair, "bid", Side.BUY, price=quote.bid_price, size=size)

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        if ctx.rng.random() < 0.05:
            ctx.log("trade", price=trade.price, size=trade.size)

    def on_funding(self, ctx: Context, funding: FundingInfo) -> None:
        if ctx.rng.random() < 0.05:
            ctx.log("funding", mark=funding.mark_price)

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        if order.is_done and ctx.rng.random() < 0.3:
            ctx.log(f"{order.client_id} {order.state} {order.reason} {order.text}")

    def on_fill(self, ctx: Context, fill: OwnFill) -> None:
        ctx.log(f"{fill.side} {fill.size} at {fill.price}", fee=str(fill.fee), held=ctx.position(fill.pair).size)

    def on_gap(self, ctx: Context, gap: Gap) -> None:
        ctx.log(f"gap {gap.pair} {gap.is_over} {gap.cause}")
        if not gap.is_over:
            ctx.cancel_all(gap.pair)

    def on_stop(self, ctx: Context) -> None:
        ctx.log("stop", orders=len(ctx.orders()))

    def act(self, ctx: Context, pair: str) -> None:
        book, rules = ctx.book(pair), ctx.rules(pair)
        bid, ask = book.bids.best_price, book.asks.best_price
        if bid is None or ask is None or book.is_stale:
            return
        size = float(rules.size_step) * self.lots * 10
        orders = ctx.orders(pair)
        match ctx.rng.randrange(9):
            case 0:
                ctx.buy(pair, rules.round_size(size), rules.ticks_up(ask, 3), tif="IOC")
            case 1:
                ctx.sell(pair, rules.round_size(size), rules.ticks_down(bid, 3), tif="FOK")
            case 2:
                ctx.buy(pair, rules.round_size(size), bid, post_only=True)
            case 3:
                ctx.sell(pair, rules.round_size(size), ask)
            case 4:
                ctx.sell(pair, rules.round_size(size))
            case 5 if orders:
                ctx.amend(ctx.rng.choice(orders), price=rules.ticks_down(bid, ctx.rng.randrange(4)))
            case 6 if orders:
                ctx.cancel(ctx.rng.choice(orders))
            case 7:
                ctx.buy(pair, rules.round_size(size), bid, tif="GTD", expires_ns=ctx.now_ns + 10**9)
            case _:
                if len(orders) > 6:
                    ctx.cancel_all(pair)
