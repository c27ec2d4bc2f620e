"""
A collector of funding, which holds the thing itself and is short as much of its perpetual.

What the price does to one leg it does to the other the other way round, so what is left is the funding that shorts are paid
while the rate is positive, less the fees of four orders and whatever the two prices move against each other. It opens both
legs where the rate of a period is at least `entry_bps`, and closes them where it is below `exit_bps`: between the two it does
nothing, since each turn costs two spreads.

Both legs are sent at once and only at the price that is seen (IOC), so one may be filled and the other not: each second it
sends what is missing of either. A book that is stale stops it. The picture shows the rate and the basis, the report how little
of the profit is funding once fees are paid.

Example:  tickdeck backtest examples/strategies/funding_collector.py tapes/both --set entry_bps=0.1
"""

from __future__ import annotations

from tickdeck import Context, Side, Strategy, Wakes


class FundingCollector(Strategy):
    """Trades two pairs of one thing: the one that has funding is the perpetual, the other one is bought."""

    entry_bps: float = 0.5  # rate of a funding period from which on it is worth it, basis points
    exit_bps: float = 0.0  # and below which it is no more
    order_value: float = 1000.0  # of each leg, in quote currency

    wakes = Wakes(every="1s")

    def on_start(self, ctx: Context) -> None:
        """No leg yet, and it is not known which pair is which."""
        if len(ctx.pairs) != 2:
            raise ValueError(f"the run is of {', '.join(ctx.pairs)}: expected a thing and its perpetual")
        #: Size that is to be held of the one, and owed of the other.
        self.wanted = 0.0

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """Look at the rate, and have the legs that should be there."""
        perpetuals = [pair for pair in ctx.pairs if (told := ctx.funding(pair)) and told.funding_rate is not None]
        if len(perpetuals) != 1 or any(ctx.book(pair).is_stale for pair in ctx.pairs):
            return
        [perpetual] = perpetuals
        [spot] = [pair for pair in ctx.pairs if pair != perpetual]
        told, mids = ctx.funding(perpetual), [ctx.book(pair).mid_price for pair in (spot, perpetual)]
        if told is None or told.funding_rate is None or mids[0] is None or mids[1] is None:
            return
        rate_bps = told.funding_rate * 1e4
        ctx.record(rate_bps=rate_bps, basis_bps=(float(mids[1]) / float(mids[0]) - 1) * 1e4)
        if ctx.orders():
            return  # an answer is awaited: what is held is not known yet
        if rate_bps < self.exit_bps:
            self.wanted = 0.0
        elif rate_bps >= self.entry_bps and not self.wanted:
            # As much of both as the coarser of their steps allows.
            self.wanted = min(ctx.rules(pair).round_size(self.order_value / float(mids[0])) for pair in ctx.pairs)
        self._have(ctx, spot, self.wanted)
        self._have(ctx, perpetual, -self.wanted)

    def _have(self, ctx: Context, pair: str, size: float) -> None:
        """Send what is missing of a leg, or too much of it."""
        missing = size - ctx.position(pair).size
        side = Side.BUY if missing > 0 else Side.SELL
        best = ctx.book(pair).best_ask if missing > 0 else ctx.book(pair).best_bid
        lots = ctx.rules(pair).round_size(abs(missing))
        if best is None or not lots:
            return
        send = ctx.buy if side is Side.BUY else ctx.sell
        send(pair, lots, best.price, tif="IOC", tag="leg")
