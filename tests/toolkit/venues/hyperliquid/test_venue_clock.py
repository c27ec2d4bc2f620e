"""What time it is at the venue of Hyperliquid, by stamps of which some are late, ahead or out of order."""

from __future__ import annotations

import msgspec
import pytest

from tests.tapes import SECOND, TS, bbo_frame, trade
from tests.toolkit.venues.hyperliquid_session import feed_of, send
from toolkit.frames import CONTROL, Frame
from toolkit.messages import Trade
from toolkit.venues.hyperliquid.venue_clock import VenueClock

MONO = 1000 * SECOND
MS = TS // 1_000_000


def clock_of(*stamps: tuple[int, float, float], wall_s: float = 0) -> VenueClock:
    """Stamps as connection, when received, and the venue's time; the venue's clock is ahead of ours by nothing."""
    clock = VenueClock()
    clock.saw(Frame(0, MONO + round(wall_s * SECOND), MONO, "hyperliquid", 0, 0, CONTROL, b"{}"))
    for conn_id, received_s, time_s in stamps:
        clock.stamped((conn_id, MONO + round(received_s * SECOND), MONO + round(time_s * SECOND)))
    return clock


def ahead_s(clock: VenueClock) -> float:
    return (clock.at(MONO) - MONO) / SECOND


#: Sent at 0, 4 and 8 s, and received at 8 s all at once.
HELD_UP = [(0, 8, 0), (0, 8, 4), (0, 8, 8)]


@pytest.mark.parametrize("wall_s", [0, -60, 60, -3600, 3600])
@pytest.mark.parametrize(
    "stamps",
    [
        pytest.param(HELD_UP, id="as many of each age"),
        pytest.param([*HELD_UP[:1] * 5, *HELD_UP[1:]], id="the oldest are the most"),
        pytest.param([(line, *stamp[1:]) for line in range(3) for stamp in HELD_UP], id="three connections"),
        pytest.param([(line, *stamp[1:]) for stamp in HELD_UP for line in range(3)], id="interleaved"),
        pytest.param([(0, 8, 0), (1, 8, 4), (2, 8, 8)], id="one of each on its own"),
    ],
)
def test_what_was_held_up_is_outvoted_by_the_last_of_it(stamps: list[tuple[int, float, float]], wall_s: float) -> None:
    assert ahead_s(clock_of(*stamps, wall_s=wall_s)) == 0


@pytest.mark.parametrize("wall_s", [0, -60, 60])
@pytest.mark.parametrize("wrong_s", [4, 30, 600, -600])
@pytest.mark.parametrize("places", [(1,), (1, 2), (0, 3), (2, 4)])
def test_a_stamp_that_later_ones_contradict_is_wrong(places: tuple[int, ...], wrong_s: float, wall_s: float) -> None:
    stamps = [(0, place, place + (wrong_s if place in places else 0)) for place in range(6)]
    assert ahead_s(clock_of(*stamps, wall_s=wall_s)) == 0


@pytest.mark.parametrize("wrong_s", [600, -600])
def test_a_stamp_far_off_is_outvoted_though_it_is_the_last(wrong_s: float) -> None:
    """Those that came with it are no late ones of its kind: nothing is held up for that long."""
    stamps = [*[(0, 5.0, 5.0)] * 3, (0, 5.0, 5 + wrong_s)]
    assert ahead_s(clock_of(*stamps, wall_s=-3600)) == 0


@pytest.mark.parametrize("wrong_s", [600, -600])
def test_where_as_many_say_otherwise_our_clock_decides(wrong_s: float) -> None:
    stamps = [(0, 0, 0), (0, 1, 1 + wrong_s)]
    assert ahead_s(clock_of(*stamps)) == 0
    assert ahead_s(clock_of(*stamps, wall_s=wrong_s)) == wrong_s


@pytest.mark.parametrize("wall_s", [0, -60, 60])
@pytest.mark.parametrize("wrong_s", [2.5, 2.9, 4])
def test_one_a_little_ahead_that_nothing_contradicts_yet_is_passed_over(wrong_s: float, wall_s: float) -> None:
    right = [(line, moment, moment - 0.1) for moment in (0, 2, 4) for line in (0, 1)]
    wrong = [(0, 6, 4.5), (0, 6, 6 + wrong_s)]
    assert ahead_s(clock_of(*right, *wrong, wall_s=wall_s)) == -0.1
    assert ahead_s(clock_of(*right, (0, 6, 4.5), (2, 6, 6 + wrong_s), wall_s=wall_s)) == -0.1


def test_one_that_another_overtook_hides_neither() -> None:
    assert ahead_s(clock_of((0, 8, 0), (0, 8, 8), (0, 8, 4), (0, 9, 9), wall_s=-60)) == 0
    assert ahead_s(clock_of((0, 8, 0), (0, 8, 8), (0, 8.5, 4), (0, 12, 9), wall_s=-60)) == 0


@pytest.mark.parametrize("step_s", [60, -60, 3600, -3600])
def test_a_clock_that_was_set_is_followed(step_s: float) -> None:
    stamps = [(0, place, place + (step_s if place >= 5 else 0)) for place in range(12)]
    assert ahead_s(clock_of(*stamps)) == step_s


def test_a_checkpoint_holds_the_stamps_of_each_connection() -> None:
    clock = clock_of((0, 8, 0), (1, 8, 12), (0, 8, 8), (1, 8, 8), (1, 8, 8), wall_s=-60)
    again = VenueClock()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(clock.export())))
    assert again.export() == clock.export()
    assert ahead_s(again) == ahead_s(clock) == 0


@pytest.mark.parametrize("wall_s", [0, -60, 3600])
@pytest.mark.parametrize("stamp_ms", [None, -600_000])
def test_the_trades_of_a_batch_say_themselves_that_they_are_old(wall_s: int, stamp_ms: int | None) -> None:
    """Trades of forty seconds cannot all have happened in the one second since the subscribe."""
    feed = feed_of("BTC-USD")
    feed.now -= wall_s * SECOND
    feed.control("connected", role="main")
    send(feed)
    if stamp_ms is not None:
        feed.text(bbo_frame("BTC", MS + stamp_ms, (10.0, 1.0), (11.0, 1.0)))
    feed.now += SECOND
    times = [MS - 40_000, MS - 9000, MS - 500, MS + 1000]
    messages = feed.channel("trades", [trade("BTC", number, time) for number, time in enumerate(times)])
    told = [each.is_history for each in messages if isinstance(each, Trade)]
    assert told[:3] == [True, True, True]
