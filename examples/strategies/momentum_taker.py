"""
A taker that goes with the trades of the last seconds.

It adds up the size of trades, bought less sold, and lets the sum decay: what was traded `half_life_s` ago counts half. Where
the sum is far enough from zero, in units of what is usual, it takes, with an order that is filled at once as far as it can
be and rests never (IOC). Its limit is a little beyond the best price: by the time that it arrives, the price has often gone,
which is what the signal said. It holds for `hold_s`, then closes, at market and reduce-only, so that it never turns the
position by mistake.

It pays the taker's fee and the spread on both ways, so most of what looks like a signal is not enough: compare the profit
before fees with the one after them.

Example:  tickdeck backtest examples/strategies/momentum_taker.py tapes/demo --pair BTC-USD --set threshold=2.5
"""

from __future__ import annotations

from dataclasses import dataclass

from tickdeck import Context, OwnOrder, Side, Strategy, Trade, Wakes
from toolkit.clock import NS_PER_S


@dataclass
class Flow:
    """What was traded in a pair: the decayed sum, and how large it usually is."""

    signed: float = 0.0
    usual: float = 0.0
    at_ns: int = 0
    is_in: bool = False  # an order was sent, and is to be closed


class MomentumTaker(Strategy):
    """Buys where buyers take, sells where sellers do, and closes after a while."""

    half_life_s: float = 2.0  # after which a trade counts half
    threshold: float = 2.0  # of the sum, in units of what is usual
    reach_bps: float = 1.0  # beyond the best price
    hold_s: float = 5.0  # for how long a position is held
    order_value: float = 1000.0  # in quote currency

    wakes = Wakes(trades=True)

    def on_start(self, ctx: Context) -> None:
        """Nothing was traded yet."""
        self.flows: dict[str, Flow] = {}

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        """Bring the sum up to date; act if it is far from zero and nothing is held."""
        pair = name_of(ctx.pairs, trade)
        flow = self.flows.setdefault(pair, Flow())
        share = 0.5 ** ((ctx.now_ns - flow.at_ns) / NS_PER_S / self.half_life_s) if flow.at_ns else 0.0
        flow.signed = flow.signed * share + (trade.size if trade.aggressor_side is Side.BUY else -trade.size)
        flow.at_ns = ctx.now_ns
        score = flow.signed / flow.usual if flow.usual else 0.0
        # What is usual is learnt slowly, and only from what was before this trade.
        flow.usual += (abs(flow.signed) - flow.usual) * 0.02 if flow.usual else abs(flow.signed)
        ctx.record(**{f"score {pair}": score})
        if abs(score) > self.threshold and not flow.is_in:
            self._enter(ctx, pair, flow, Side.BUY if score > 0 else Side.SELL)

    def _enter(self, ctx: Context, pair: str, flow: Flow, side: Side) -> None:
        book, rules = ctx.book(pair), ctx.rules(pair)
        best = book.best_ask if side is Side.BUY else book.best_bid
        if book.is_stale or best is None:
            return
        size = rules.round_size(self.order_value / rules.value_of_one(best.price))
        if size > 0:
            send = ctx.buy if side is Side.BUY else ctx.sell
            reach = self.reach_bps / 1e4 * (1 if side is Side.BUY else -1)
            send(pair, size, rules.round_price(side, best.price * (1 + reach)), tif="IOC", tag="enter")
            flow.is_in = True
            ctx.set_timer(f"close {pair}", after=f"{self.hold_s}s")

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        """The price was gone: nothing is held, and there is nothing to close."""
        if order.tag == "enter" and order.is_done and not order.filled:
            self.flows[order.pair].is_in = False
            ctx.cancel_timer(f"close {order.pair}")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        """It was held for long enough: close what there is."""
        pair = name.removeprefix("close ")
        held = ctx.position(pair).size
        self.flows[pair].is_in = False
        # Of spot a part of a lot may be held, where fees are paid in what was bought.
        size = ctx.rules(pair).round_size(abs(held))
        if size:
            send = ctx.sell if held > 0 else ctx.buy
            send(pair, size, tag="close")


def name_of(pairs: tuple[str, ...], trade: Trade) -> str:
    """What the run calls the pair of a trade: its name, with the venue where several have it."""
    return trade.trading_pair if trade.trading_pair in pairs else str(trade.key)
