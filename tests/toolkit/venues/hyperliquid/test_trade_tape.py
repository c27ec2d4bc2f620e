"""Hyperliquid's trades: what is history, what was told before, and what a real capture says of both."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.tapes import SECOND, TS, Feed, bbo_frame, trade
from tests.toolkit.venues.hyperliquid_session import feed_of, send
from toolkit.frames import WS_IN, Frame
from toolkit.messages import EventKind, Side, Trade
from toolkit.protocol import SendText
from toolkit.venues.hyperliquid.trade_tape import TRADES_REMEMBERED, TRADES_REMEMBERED_MAX, TradeTape
from toolkit.venues.hyperliquid.venue_clock import VenueClock
from toolkit.venues.hyperliquid.wire import WireTrade

MS = TS // 1_000_000


@pytest.fixture
def feed() -> Feed:
    """An import: no pairs, no connections."""
    return feed_of()


def connected(*pairs: str, channels: tuple[str, ...] = ()) -> Feed:
    feed = feed_of(*(pairs or ("BTC-USD", "ETH-USD")), channels=channels)
    feed.control("connected", role="main")
    return feed


def flags(trades: list[Trade]) -> list[tuple[str, bool, bool]]:
    return [(trade.trade_id, trade.is_history, trade.is_duplicate) for trade in trades]


def test_a_trade_says_who_took(feed: Feed) -> None:
    bought, sold = feed.channel("trades", [trade("BTC", 1, MS), trade("BTC", 2, MS, 10.5, "A")])
    assert (bought.aggressor_side, sold.aggressor_side) == (Side.BUY, Side.SELL)
    assert (sold.price, sold.size, sold.trade_id, sold.ts_event) == (10.5, 1.5, "2", MS * 1_000_000)
    assert [bought.sub_seq, sold.sub_seq] == [0, 1]


def test_the_first_trades_after_each_subscribe_are_history() -> None:
    """Per coin, again after a reconnect; those of them that were seen before are duplicates too."""
    feed = connected()
    assert flags(feed.channel("trades", [trade("BTC", 1, MS), trade("BTC", 2, MS)])) == [
        ("1", True, False),
        ("2", True, False),
    ]
    assert flags(feed.channel("trades", [trade("BTC", 3, MS + 1)])) == [("3", False, False)]
    assert flags(feed.channel("trades", [trade("ETH", 3, MS)])) == [("3", True, False)]
    feed.now += SECOND
    feed.control("disconnected", code=1006, cause="disconnect")
    feed.control("connected", role="main")
    gap, *again = feed.channel("trades", [trade("BTC", 3, MS + 1), trade("BTC", 4, MS + 1)])
    assert gap.kind is EventKind.GAP
    assert flags(again) == [("3", True, True), ("4", True, False)]
    assert [each.sub_seq for each in again] == [1, 2]
    assert flags(feed.channel("trades", [trade("BTC", 5, MS + 1001)])) == [("5", False, False)]


def test_a_trade_is_itself_by_coin_time_and_id(feed: Feed) -> None:
    """`tid` is a hash, and dust conversions have none: only all three together say that a trade was seen before."""
    feed.channel("trades", [trade("BTC", 0, MS)])
    assert flags(feed.channel("trades", [trade("BTC", 0, MS + 1)])) == [("0", False, False)]
    assert flags(feed.channel("trades", [trade("ETH", 0, MS)])) == [("0", False, False)]


def test_a_capture_may_hide_a_subscribe_that_a_repeated_trade_gives_away(feed: Feed) -> None:
    """What stands beside a repeated trade was missed: kept, but not new, if it is as old as a batch of history is."""
    feed.channel("trades", [trade("BTC", 1, MS)])
    feed.now += 9 * SECOND
    assert flags(feed.channel("trades", [trade("BTC", 1, MS), trade("BTC", 2, MS)])) == [
        ("1", True, True),
        ("2", True, False),
    ]
    live = trade("BTC", 3, MS + 9000)
    assert flags(feed.channel("trades", [live])) == [("3", False, False)]
    assert flags(feed.channel("trades", [live, trade("BTC", 4, MS + 9000)])) == [
        ("3", False, True),
        ("4", False, False),
    ]


def test_the_first_trade_of_a_quiet_coin_is_live() -> None:
    """An hour after the subscribe, or a second; by the venue's time where it tells it, though our clock is an hour off."""
    for skew_ms in (0, 3_600_000, -3_600_000):
        feed = connected()
        send(feed)
        feed.now += SECOND
        feed.text(bbo_frame("BTC", MS + 1000 + skew_ms, (10.0, 1.0), (11.0, 1.0)))
        feed.now += 10 * SECOND
        assert flags(feed.channel("trades", [trade("BTC", 1, MS + 10_900 + skew_ms)])) == [("1", False, False)]
        feed.now += 3600 * SECOND
        now = MS + 3_611_000 + skew_ms
        feed.text(bbo_frame("BTC", now, (10.0, 1.0), (11.0, 1.0)))
        batch = [trade("ETH", 2, MS - 60_000 + skew_ms), trade("ETH", 3, now)]
        assert flags(feed.channel("trades", batch)) == [("2", True, False), ("3", False, False)]


def test_a_subscribe_that_is_sent_again_does_not_begin_again() -> None:
    """The venue took the first; only its answer was lost. What was traded since is live."""
    feed = connected("BTC-USD", channels=("trades",))
    send(feed)
    feed.now += 11 * SECOND
    for request in feed.protocol.due(feed.now - TS):
        if isinstance(request, SendText):
            feed.sent(request.text)
    assert flags(feed.channel("trades", [trade("BTC", 1, MS + 9000)])) == [("1", False, False)]


def captured_trades(shared_data: Path, feed: Feed, skip: int) -> list[Trade]:
    """The trades of a real capture, less so many of its frames."""
    lines = gzip.decompress((shared_data / "hyperliquid" / "ws_btc_20250126.gz").read_bytes()).splitlines()[skip:]
    trades = []
    for line in lines:
        stamp, _, payload = line.partition(b" ")
        feed.now = int(stamp)
        trades += [message for message in feed.text(payload) if isinstance(message, Trade)]
    return trades


def test_the_history_of_a_real_capture_is_its_first_batch(shared_data: Path, feed: Feed) -> None:
    """It reaches back 4 to 49 s; what follows is half a second old."""
    trades = captured_trades(shared_data, feed, 0)
    ages = {
        flag: [(each.ts_recv - (each.ts_event or 0)) / SECOND for each in trades if each.is_history is flag]
        for flag in (True, False)
    }
    assert (len(ages[True]), len(ages[False])) == (30, 34)
    assert min(ages[True]) > 4
    assert max(ages[False]) < 1


@pytest.mark.parametrize("skip", [5, 15, 30])
def test_a_real_capture_that_begins_in_the_middle_has_no_history(shared_data: Path, feed: Feed, skip: int) -> None:
    trades = captured_trades(shared_data, feed, skip)
    assert trades
    assert not any(each.is_history or each.is_duplicate for each in trades)


def test_a_wrong_stamp_does_not_make_live_trades_history() -> None:
    """One quote dated ten minutes ahead, or back."""
    for wrong_ms in (600_000, -600_000):
        feed = connected()
        send(feed)
        for number in range(4):
            feed.text(bbo_frame("BTC", MS + number + (wrong_ms if number == 2 else 0), (10.0, 1.0), (11.0, 1.0)))
        feed.now += 2 * SECOND
        batch = [trade("BTC", 1, MS - 5000), trade("BTC", 2, MS + 1900)]
        assert flags(feed.channel("trades", batch)) == [("1", True, False), ("2", False, False)]


@pytest.mark.parametrize("wrong_ms", [600_000, -600_000, 4000])
@pytest.mark.parametrize("right", [3, 9])
def test_a_wrong_stamp_that_comes_twice_is_not_believed(wrong_ms: int, right: int) -> None:
    feed = connected()
    send(feed)
    for number in range(right + 2):
        wrong = wrong_ms if number in (1, 2) else 0
        feed.text(bbo_frame("BTC", MS + number + wrong, (10.0, 1.0), (11.0, 1.0)))
    feed.now += 2 * SECOND
    batch = [trade("BTC", 1, MS - 5000), trade("BTC", 2, MS + 1900)]
    assert flags(feed.channel("trades", batch)) == [("1", True, False), ("2", False, False)]


@pytest.mark.parametrize("wrong_ms", [600_000, -600_000])
def test_of_two_stamps_in_a_capture_the_one_near_our_clock_counts(feed: Feed, wrong_ms: int) -> None:
    for skew_ms in (0, wrong_ms):
        feed.text(bbo_frame("BTC", MS + skew_ms, (10.0, 1.0), (11.0, 1.0)))
    batch = [trade("ETH", 1, MS - 9000), trade("ETH", 2, MS - 100)]
    assert flags(feed.channel("trades", batch)) == [("1", True, False), ("2", True, False)]


@pytest.mark.parametrize("slept_s", [20, 3600, 86_400])
def test_what_was_traded_while_the_machine_slept_is_history(slept_s: int) -> None:
    """The monotonic clock stood still: stamps of before the sleep would make the venue's clock that much slow."""
    feed = connected()
    send(feed)
    for number in range(12):
        feed.text(bbo_frame("BTC", MS + number, (10.0, 1.0), (11.0, 1.0)))
    feed.now += slept_s * SECOND
    feed.slept_ns += slept_s * SECOND
    feed.control("connection_stale", cause="suspend", silence_s=slept_s)
    feed.control("disconnected", cause="suspend")
    feed.control("connected", role="main")
    send(feed)
    now = MS + slept_s * 1000
    feed.now += SECOND
    *_, asleep, awake = feed.channel("trades", [trade("BTC", 1, now - 15_000), trade("BTC", 2, now + 900)])
    assert flags([asleep, awake]) == [("1", True, False), ("2", False, False)]


def test_age_tells_in_a_capture_that_begins_in_the_middle(feed: Feed) -> None:
    """Half a second old: live. Seconds old: the batch after a subscribe, and all of it is history."""
    assert flags(feed.channel("trades", [trade("BTC", 1, MS - 500)])) == [("1", False, False)]
    batch = [trade("ETH", 1, MS - 9000), trade("ETH", 2, MS - 100)]
    assert flags(feed.channel("trades", batch)) == [("1", True, False), ("2", True, False)]


def test_an_acknowledgement_in_a_capture_tells_of_the_subscription(feed: Feed) -> None:
    feed.channel("subscriptionResponse", {"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}})
    feed.now += SECOND
    batch = [trade("BTC", 1, MS - 9000), trade("BTC", 2, MS + 900)]
    assert flags(feed.channel("trades", batch)) == [("1", True, False), ("2", False, False)]


def test_late_and_reordered_trades_are_no_duplicates(feed: Feed) -> None:
    """Ids are hashes: what has not been told is new, in whatever order it comes, and only that."""
    times = [MS + offset for offset in (9, 3, 7, 0, 5)]
    for number, time in enumerate(times):
        assert flags(feed.channel("trades", [trade("BTC", 90 - number, time)])) == [(str(90 - number), False, False)]
    assert [
        each.is_duplicate for each in feed.channel("trades", [trade("BTC", 88, times[2]), trade("BTC", 88, MS + 8)])
    ] == [
        True,
        False,
    ]


def test_conversions_of_dust_without_an_id_are_each_a_trade(feed: Feed) -> None:
    """Of one moment, of several sizes, and two that are alike."""
    dust = [trade("BTC", 0, MS), trade("BTC", 0, MS, 11.0), trade("BTC", 0, MS)]
    assert [each.is_duplicate for each in feed.channel("trades", dust)] == [False, False, False]
    assert [each.is_duplicate for each in feed.channel("trades", dust)] == [True, True, True]
    # One of another moment is another, and a batch that has both has nothing new.
    later = trade("BTC", 0, MS + 1)
    assert [each.is_duplicate for each in feed.channel("trades", [later])] == [False]
    assert [each.is_duplicate for each in feed.channel("trades", [*dust, later])] == [True] * 4


def test_one_odd_trade_takes_no_other_with_it(feed: Feed) -> None:
    odd = [
        trade("BTC", 1, MS),
        {"coin": "BTC"},
        trade("BTC", 2, MS, side="X"),
        trade("BTC", 3, MS, 0.0),
        trade("BTC", 4, MS),
    ]
    *trades, first, second, third = feed.channel("trades", odd)
    assert [each.trade_id for each in trades] == ["1", "4"]
    assert [each.kind for each in (first, second, third)] == [EventKind.PARSE_ERROR] * 3
    assert [each.sub_seq for each in (first, second, third)] == [2, 3, 4]
    assert [type(each) for each in feed.channel("trades", [*odd[1:4], trade("BTC", 5, MS)])] == [Trade]


def test_one_frame_may_speak_of_several_coins(feed: Feed) -> None:
    feed.channel("trades", [trade("BTC", 1, MS)])
    said = feed.channel("trades", [trade("BTC", 2, MS), trade("ETH", 9, MS), trade("BTC", 3, MS)])
    assert [(each.symbol, each.trade_id) for each in said] == [("BTC", "2"), ("ETH", "9"), ("BTC", "3")]
    assert feed.channel("trades", []) == []


def test_as_many_trades_are_remembered_as_a_batch_of_history_may_repeat() -> None:
    """The newest ones, however old, and those that came while it was on its way, however many."""
    feed = connected()
    feed.channel("trades", [trade("BTC", 1, MS)])
    feed.now += 60 * SECOND
    quiet = [trade("BTC", number, MS + 15_000 + number * 10) for number in range(2, 602)]
    for each in quiet:
        feed.channel("trades", [each])
    assert all(is_duplicate for _, _, is_duplicate in flags(feed.channel("trades", quiet)))
    later = [trade("BTC", number, MS + 3_600_000) for number in range(1_000, 1_032)]
    feed.channel("trades", later)
    assert flags(feed.channel("trades", [quiet[0]]))[0][2] is False
    assert all(is_duplicate for _, _, is_duplicate in flags(feed.channel("trades", [*quiet[-30:], *later])))


@pytest.mark.parametrize("step_ms", [0, 1, 1_000])
def test_the_trades_that_are_remembered_are_bounded(step_ms: int) -> None:
    """Whatever the venue says of their times."""
    tape = TradeTape(VenueClock())
    frame = Frame(0, TS, TS, "hyperliquid", 0, 0, WS_IN, b"")
    for number in range(3_000):
        told = WireTrade(coin="BTC", side="B", px=1.0, sz=1.0, time=MS + number * step_ms, tid=number + 1, hash="")
        tape.read(frame, [told], {})
    (kept,) = tape.export()["seen"].values()
    assert len(kept) == (TRADES_REMEMBERED if step_ms == 1_000 else TRADES_REMEMBERED_MAX)
