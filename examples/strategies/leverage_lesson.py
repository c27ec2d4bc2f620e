"""
A lesson in leverage: it buys once, with all that its leverage allows, and then waits for what becomes of it.

A position of `leverage` times the equity loses all of that when the price falls by one part in `leverage`, and the venue does
not wait so long: it closes the position where the equity is down to the maintenance margin. Run it twice on a tape that
falls, with leverage 20 and with leverage 2: the price is the same, the end is not. It records how far the price is from that of
the liquidation, which the picture shows, and the report names each step of a liquidation with what stood for the position
and what was needed.

With `stop_share=0.5` it asks the venue to sell where half of the way to the liquidation is gone: what is lost then is a choice.

Example:  tickdeck backtest examples/strategies/leverage_lesson.py tapes/monday --pair BTC-USD --capital USDC=1000 --leverage 20
"""

from __future__ import annotations

from tickdeck import Context, OwnFill, Strategy, Wakes


class LeverageLesson(Strategy):
    """Buys the first pair of the run once; `--leverage` has to allow what `leverage` says."""

    leverage: float = 20.0  # value of the position over the equity, at the start
    margin_left: float = 0.02  # share of the equity that pays fees and the way of the order
    stop_share: float = 0.0  # of the way to the liquidation, at which a stop waits; 0: none

    wakes = Wakes(every="1s")

    def on_start(self, ctx: Context) -> None:
        """Nothing is bought before there is a price."""
        self.has_bought = False

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """Buy at the first look, and say at the others how far it is to the liquidation."""
        pair = ctx.pairs[0]
        book = ctx.book(pair)
        if book.is_stale or book.best_ask is None or book.mid_price is None:
            return
        if not self.has_bought:
            rules = ctx.rules(pair)
            value = float(ctx.equity()) * self.leverage * (1 - self.margin_left)
            size = rules.round_size(value / rules.value_of_one(book.best_ask.price))
            self.has_bought = True
            if size:
                ctx.buy(pair, size, tag="all in")
        price = ctx.liquidation_price(pair)
        if price is not None and ctx.position(pair).size > 0:
            ctx.record(to_liquidation_bps=(float(book.mid_price) / price - 1) * 1e4)

    def on_fill(self, ctx: Context, fill: OwnFill) -> None:
        """It has bought: leave a stop at the venue, if that is wanted."""
        price = ctx.liquidation_price(fill.pair)
        if self.stop_share and price is not None and fill.order.tag == "all in" and not fill.order.left:
            rules = ctx.rules(fill.pair)
            stop = rules.ticks_down(fill.price - (fill.price - price) * self.stop_share, 0)
            ctx.sell(fill.pair, ctx.position(fill.pair).size, stop=stop, reduce_only=True, tag="stop")
