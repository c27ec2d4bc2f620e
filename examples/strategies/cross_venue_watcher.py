"""
A watcher of one pair on two venues, which trades the difference of their prices.

Two venues never agree to the last tick; what counts is where the difference is unlike what it usually is. It keeps a slow
average of the difference of the middle prices, in basis points, and records both, so that the picture shows them. Where the
difference is further than `entry_bps` from the average, it sells on the dear venue and buys on the cheap one, both at once
and each only if the price is still there (IOC); where it is back, it closes both.

One leg may be filled and the other not: what is open on one side alone is closed at market. A book that is stale on either
venue stops everything: a price that is old looks like a difference.

Example:  tickdeck backtest examples/strategies/cross_venue_watcher.py tapes/both --pair BTC-USD
"""

from __future__ import annotations

from tickdeck import Context, Quote, Strategy, Wakes
from toolkit.clock import NS_PER_S


class CrossVenueWatcher(Strategy):
    """Watches the first two pairs of the run, which are one pair on two venues."""

    entry_bps: float = 5.0  # from the average, to open
    exit_bps: float = 1.0  # from the average, to close
    average_s: float = 60.0  # over which the average is taken
    order_value: float = 1000.0  # of each leg, in quote currency

    wakes = Wakes(quotes=True, min_gap="50ms")

    def on_start(self, ctx: Context) -> None:
        """Two books, and no average yet."""
        if len(ctx.pairs) != 2:
            raise ValueError(f"the run is of {', '.join(ctx.pairs)}: expected one pair on two venues")
        self.average: float | None = None
        self.looked_ns = 0

    def on_quote(self, ctx: Context, quote: Quote) -> None:
        """A price has moved on one of them."""
        one, other = ctx.pairs
        books = ctx.book(one), ctx.book(other)
        mids = [book.mid_price for book in books]
        if any(book.is_stale for book in books) or mids[0] is None or mids[1] is None:
            return
        difference = (float(mids[0]) / float(mids[1]) - 1) * 1e4
        passed_s = (ctx.now_ns - self.looked_ns) / NS_PER_S
        self.looked_ns = ctx.now_ns
        if self.average is None:
            self.average = difference
        self.average += (difference - self.average) * min(1.0, passed_s / self.average_s)
        away = difference - self.average
        ctx.record(difference_bps=difference, average_bps=self.average)
        if ctx.orders():
            return  # an answer is awaited: what is held is not known yet
        held = [ctx.position(pair).size for pair in ctx.pairs]
        if not held[0] and not held[1]:
            if abs(away) > self.entry_bps:
                self._open(ctx, dear=one if away > 0 else other, cheap=other if away > 0 else one)
        elif abs(away) < self.exit_bps or held[0] * held[1] >= 0:
            # It is back to what is usual, or one leg alone was filled.
            self._close(ctx)

    def _open(self, ctx: Context, *, dear: str, cheap: str) -> None:
        bid, ask = ctx.book(dear).best_bid, ctx.book(cheap).best_ask
        if bid is None or ask is None:
            return
        sizes = [ctx.rules(pair).round_size(self.order_value / ask.price) for pair in ctx.pairs]
        size = min(sizes)
        if size > 0:
            ctx.sell(dear, size, bid.price, tif="IOC", tag="dear")
            ctx.buy(cheap, size, ask.price, tif="IOC", tag="cheap")

    def _close(self, ctx: Context) -> None:
        for pair in ctx.pairs:
            held = ctx.position(pair).size
            size = ctx.rules(pair).round_size(abs(held))
            if size:
                send = ctx.sell if held > 0 else ctx.buy
                send(pair, size, tag="close")
