"""What is due between two frames is done in the order of its times, whatever was taken back meanwhile."""

from __future__ import annotations

from replay.strategy.context import Context
from replay.strategy.strategy import Strategy, Wakes
from replay.strategy.views import OwnOrder
from tests.replay.backtest.market_messages import Messages
from tests.replay.strategy.sessions import market, play

SECOND = 1_000_000_000


class TakesBack(Strategy):
    """Takes a timer back that is due before the answer to its order; the next timer is due after it."""

    wakes = Wakes(every="1s")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        if not ctx.orders():
            ctx.set_timer("soon", after="100ms")
            ctx.buy(ctx.pairs[0], 1, 90)
            ctx.set_timer("soon", after="1500ms")
        ctx.log(name, at=ctx.now_ns)

    def on_order(self, ctx: Context, order: OwnOrder) -> None:
        ctx.log(str(order.state), at=ctx.now_ns)


def test_a_timer_that_was_taken_back_lets_no_later_one_go_before_an_answer() -> None:
    say = Messages()
    played = play(TakesBack, [*market(say), say.diff(10 * SECOND, {99: 3})], latency="entry=200ms,response=300ms")
    said = [
        (acts[0][1], acts[0][2]["at"] / SECOND) for *_, acts in played.told("order", "timer") if acts[0][0] == "log"
    ]
    later = [acts[-1] for *_, acts in played.told("timer") if acts[0][0] != "log"]
    assert [(each[1], each[2]["at"] / SECOND) for each in later] == [("every", 1.0)]
    assert said[:3] == [("open", 1.5), ("every", 2.0), ("soon", 2.5)]
