"""
A market maker that leans against what it holds.

It keeps a bid and an ask around a fair price. The fair price is the middle between the best prices, moved against the
position: one who is long offers a little lower on both sides, and so is more likely to sell than to buy. At `inventory_max`
it quotes the side alone that makes the position smaller.

Both orders are post-only and never better than the best price of their side, so it earns the spread and the maker's fee, and
pays with what the market moves between a fill and the next one on the other side.

Example:  tickdeck backtest examples/strategies/market_maker.py tapes/demo --pair BTC-USD --set half_spread_bps=1.5
"""

from __future__ import annotations

from tickdeck import Context, Gap, Side, Strategy, Wakes


class MarketMaker(Strategy):
    """Quotes both sides of every pair of the run, skewed by what it holds."""

    half_spread_bps: float = 1.0  # from the fair price to each quote, in basis points of it
    skew_bps: float = 2.0  # what the fair price is moved by at the largest inventory
    order_value: float = 500.0  # of each quote, in quote currency
    inventory_max: float = 2000.0  # of each pair, in quote currency
    stay_bps: float = 0.3  # a quote no further from where it should be stays where it is

    # It looks ten times a second, and not at each change of the market.
    wakes = Wakes(every="100ms")

    def on_start(self, ctx: Context) -> None:
        """Sizes are chosen at the first look, and stay: an order that changes loses its place in the queue."""
        self.sizes: dict[str, float] = {}

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """Look at each pair, and have the two orders that should be there."""
        for pair in ctx.pairs:
            self._quote(ctx, pair)

    def _quote(self, ctx: Context, pair: str) -> None:
        book, rules = ctx.book(pair), ctx.rules(pair)
        bid, ask, mid = book.best_bid, book.best_ask, book.mid_price
        if book.is_stale or bid is None or ask is None or mid is None:
            ctx.cancel_all(pair)
            return
        middle = float(mid)
        one = rules.value_of_one(middle)
        size = self.sizes.setdefault(pair, rules.round_size(self.order_value / one))
        held = ctx.position(pair).size * one / self.inventory_max
        ctx.record(**{f"held {pair}": held})
        if not size:
            return  # the least size of the venue is worth more than that
        fair = middle * (1 - self.skew_bps * held / 1e4)
        away = middle * self.half_spread_bps / 1e4
        # No better than the best price: a post-only order that would trade at once is refused.
        buy_at = rules.round_price(Side.BUY, min(fair - away, bid.price))
        sell_at = rules.round_price(Side.SELL, max(fair + away, ask.price))
        near = middle * self.stay_bps / 1e4
        for order in ctx.orders(pair):
            if order.price is not None and order.side is Side.BUY and abs(order.price - buy_at) <= near:
                buy_at = order.price
            elif order.price is not None and order.side is Side.SELL and abs(order.price - sell_at) <= near:
                sell_at = order.price
        ctx.keep(pair, "bid", Side.BUY, price=buy_at if held < 1 else None, size=size)
        ctx.keep(pair, "ask", Side.SELL, price=sell_at if held > -1 else None, size=size)

    def on_gap(self, ctx: Context, gap: Gap) -> None:
        """The book is not known: have no orders in it. They are sent again once it is."""
        if not gap.is_over:
            ctx.cancel_all(gap.pair)
