"""Models of latency: constant, between recorded round trips, and of the feed itself."""

from __future__ import annotations

import pytest

from replay.backtest.latency import ConstantLatency, InterpolatedLatency, latency_of_feed
from tests.replay.market.market_tapes import events
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError


def test_constant_latency_is_no_less_than_nothing() -> None:
    latency = ConstantLatency(entry=3, response=5)
    assert (latency.entry_ns(1), latency.response_ns(1)) == (3, 5)
    with pytest.raises(ConfigError, match=r"^response latency is -1 ns, expected 0 or more$"):
        ConstantLatency(entry=3, response=-1)


def test_interpolation_goes_through_the_recorded_round_trips() -> None:
    """Sent at 100 and 200 they took 10 and 20 there, 5 and 15 back; halfway 15 and 10, cut to whole ns."""
    latency = InterpolatedLatency([(100, 110, 115), (200, 220, 235)])
    assert [latency.entry_ns(at) for at in (0, 100, 150, 155, 200, 900)] == [10, 10, 15, 15, 20, 20]
    assert [latency.response_ns(at) for at in (0, 110, 165, 220, 900)] == [5, 5, 10, 15, 15]


def test_an_offset_of_the_clocks_changes_no_latency() -> None:
    """The same round trips where the venue's clock is 1000 ahead."""
    plain = InterpolatedLatency([(100, 110, 115), (200, 220, 235)])
    ahead = InterpolatedLatency([(100, 1110, 115), (200, 1220, 235)], 1000)
    assert [ahead.entry_ns(at) for at in range(90, 250, 7)] == [plain.entry_ns(at) for at in range(90, 250, 7)]
    assert [ahead.response_ns(1000 + at) for at in range(90, 250, 7)] == [
        plain.response_ns(at) for at in range(90, 250, 7)
    ]


def test_a_request_beside_a_lost_one_is_lost() -> None:
    """Its refusal is heard of after the round trip: 15 at 100, 25 at 200, so 20 between the two."""
    latency = InterpolatedLatency([(100, 110, 115), (200, 0, 225), (300, 310, 315)])
    assert [latency.entry_ns(at) for at in (150, 200, 250, 300)] == [-20, -25, -20, 10]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no round trip to interpolate between, expected at least one row"),
        ([(100, 90, 115)], "round trip 1 takes -10 ns to the venue and 15 ns in all"),
        ([(100, 110, 105)], "round trip 1 takes 10 ns to the venue and 5 ns in all"),
        ([(100, 110, 115), (100, 120, 125)], "the request times of the round trips do not ascend"),
        ([(100, 120, 130), (110, 115, 130)], "the exchange times of the round trips do not ascend"),
    ],
)
def test_round_trips_that_cannot_be_are_refused(rows: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        InterpolatedLatency(rows)
    assert str(caught.value).startswith(message)


def test_latency_of_the_feed_takes_the_last_delay_of_each_second() -> None:
    """Received 7 ns after they happened in the first second, 9 in the next; twice as long with 100 added each way."""
    tape = events([("bid", 99, 1), ("bid", 98, 1), ("bid", 97, 1)])
    tape["recv"][2] = tape["time"][2] + NS_PER_S
    tape["time"][2] += NS_PER_S - 9
    latency = latency_of_feed(tape, clock_offset_ns=0, entry_add_ns=100, response_add_ns=50)
    assert [latency.entry_ns(at) for at in (0, 8, 2 * NS_PER_S)] == [107, 107, 109]
    assert latency.response_ns(0) == 57


def test_a_feed_that_comes_before_it_happens_is_refused_with_the_offset_that_mends_it() -> None:
    """A venue's clock 1.27 s ahead of ours, in two real captures."""
    tape = events([("bid", 99, 1)])
    tape["recv"] = tape["time"] - 1_270_000_000
    with pytest.raises(
        ConfigError, match=r"make -1270000000 ns at least, expected 0 or more; .* 1270000000 ns would do$"
    ):
        latency_of_feed(tape, clock_offset_ns=0)
    assert latency_of_feed(tape, clock_offset_ns=1_270_000_000).entry_ns(5) == 0
