"""The exchange on the receive clock: what happens when, in which order, and who knows of it."""

from __future__ import annotations

from replay.market.layout import TifCode
from tests.replay.backtest.market_messages import Desk


def test_a_request_is_matched_after_its_latency_and_heard_of_after_the_other() -> None:
    """Sent at 200, at the venue at 203, heard at 208. The ask comes to 98 at 300: filled then, heard at 305."""
    desk = Desk()
    order = desk.place(200, "buy", 99, 5)
    desk.reach(207)
    assert (desk.told(), order.is_open) == ([], False)
    desk.reach(208)
    assert desk.told() == [(208, 1, "open", "none")]
    desk.take(desk.say.trade(300, "sell", 98, 5))
    assert desk.fills() == [(300, 1, "maker", 99, 5)]
    desk.reach(304)
    assert len(desk.heard) == 1
    desk.reach(305)
    assert desk.told()[1:] == [(305, 1, "filled", "none")]


def test_a_request_that_arrives_at_a_frames_time_is_there_first() -> None:
    """The ask of 101 goes at 300, when our IOC of 101 arrives: it is a request, and goes first."""
    desk = Desk()
    desk.place(297, "buy", 101, 4, TifCode.IOC)
    desk.take(desk.say.diff(300, asks={101: 0}))
    desk.reach(400)
    assert desk.fills() == [(300, 1, "taker", 101, 4)]
