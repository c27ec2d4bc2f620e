"""Messages as market events: differences of snapshots, what is in sight, which trades were matched in the book."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.backtest.event_buffer import EventBuffer
from replay.backtest.market_feed import MarketFeed, PairFeed, market_events
from replay.backtest.scales import PairScale
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import EventCode
from replay.market.rules import Rules
from tests.replay.tapes_of_trades import make
from tests.tapes import VENUE, diff, quote, snapshot
from toolkit.books.tracker import OrderBookTracker
from toolkit.errors import ConfigError, SymbolError
from toolkit.kernels.compiling import plain
from toolkit.kernels.levels import size_at
from toolkit.keys import PairKey
from toolkit.messages import EventKind, Message, Side, StreamEvent, Trade

KEY = PairKey(VENUE, "A-B")
SCALE = PairScale("A-B", Decimal("0.1"), Decimal("0.01"))
Told = tuple[str, int, int, int]


def told(*messages: Message) -> list[Told]:
    """Events of messages as `(code, side, tick, lots)`."""
    feed = MarketFeed({KEY: SCALE})
    feed.take_all(messages)
    return [
        (EventCode(row["code"]).name, int(row["side"]), int(row["tick"]), int(row["lots"])) for row in feed.events()
    ]


def deal(**fields: Any) -> Trade:
    """A trade of 0.5 at 10.0, by a seller."""
    values: dict[str, Any] = {
        "venue": VENUE,
        "symbol": "A",
        "trading_pair": "A-B",
        "ts_event": 5,
        "ts_recv": 9,
        "capture_seq": 3,
        "sub_seq": 0,
        "aggressor_side": Side.SELL,
        "price": 10.0,
        "size": 0.5,
        "trade_id": "1",
    }
    return Trade(**values | fields)


def test_a_diff_is_its_levels_bids_first() -> None:
    message = diff([(10.0, 0.5), (9.9, 0.0)], [(10.1, 1.0)], ts_event=7)
    assert told(message) == [("LEVEL", 0, 100, 50), ("LEVEL", 0, 99, 0), ("LEVEL", 1, 101, 100)]


def test_a_snapshot_that_joins_the_book_is_its_difference_and_marked() -> None:
    """What is not in it is gone, what is the same is not said again, and what is gone goes first."""
    before = diff([(10.0, 0.5), (9.9, 0.5)], [(10.1, 1.0)])
    joined = snapshot([(10.2, 0.1), (9.9, 0.5)], [(10.3, 1.0)], depth_cap=None)
    assert told(before, joined)[3:] == [
        ("SYNC_LEVEL", 0, 100, 0),
        ("SYNC_LEVEL", 1, 101, 0),
        ("SYNC_LEVEL", 0, 102, 10),
        ("SYNC_LEVEL", 1, 103, 100),
    ]


def test_what_a_capped_snapshot_no_longer_shows_is_out_of_sight_and_not_gone() -> None:
    """Two levels are shown. A better one comes: 9.9 is pushed out, which says nothing of its size."""
    first = snapshot([(10.0, 0.5), (9.9, 0.5)], [(10.5, 1.0)], depth_cap=2)
    second = snapshot([(10.1, 0.1), (10.0, 0.5)], [(10.5, 1.0)], depth_cap=2)
    assert told(first)[3:] == [("HORIZON", 0, 99, 1)]
    assert told(first, second)[4:] == [("LEVEL", 0, 101, 10), ("HORIZON", 0, 100, 1)]


def test_what_lies_within_a_capped_snapshot_and_is_not_in_it_is_gone() -> None:
    first = snapshot([(10.0, 0.5), (9.9, 0.5)], [(10.5, 1.0)], depth_cap=2)
    second = snapshot([(10.0, 0.5), (9.8, 0.2)], [], depth_cap=2)
    assert told(first, second)[4:6] == [("LEVEL", 0, 99, 0), ("LEVEL", 1, 105, 0)]


def test_only_trades_of_the_book_that_are_new_match() -> None:
    assert told(deal()) == [("TRADE", 1, 100, 50)]
    assert told(deal(cause="liquidation", aggressor_side=Side.BUY)) == [("TRADE", 0, 100, 50)]
    assert len(told(deal(), deal(capture_seq=9), deal(trade_id="2"), deal(ts_event=6))) == 3
    others: Sequence[dict[str, Any]] = (
        {"is_history": True},
        {"is_duplicate": True},
        {"cause": "deleveraging"},
        {"trading_pair": "C-D"},
        {"venue": "another"},
    )
    assert [told(deal(**fields)) for fields in others] == [[]] * 5


def test_the_forms_of_a_book_are_fused() -> None:
    """Two levels in full; the best one alone a little later; then a quote that has passed the best bid."""
    full = snapshot([(10.0, 0.5), (9.9, 0.5)], [(10.5, 1.0), (10.6, 1.0)], depth_cap=2, ts_event=1)
    fast = snapshot([(10.0, 0.4)], [(10.5, 1.0)], form="fast", depth_cap=1, ts_event=2)
    best = quote((9.9, 0.7), (10.4, 0.1), ts_event=3)
    assert told(full)[-2:] == [("HORIZON", 0, 99, 1), ("HORIZON", 1, 106, 1)]
    assert told(full, fast)[6:] == [("LEVEL", 0, 100, 40)]
    assert told(full, fast, best)[7:] == [("LEVEL", 0, 100, 0), ("LEVEL", 0, 99, 70), ("LEVEL", 1, 104, 10)]


def test_a_late_message_changes_the_book_when_it_comes() -> None:
    """The quote of 5 comes before the full book of 4, which shows a level that the quote has passed: it stays gone."""
    feed = MarketFeed({KEY: SCALE})
    feed.take_all(
        [
            snapshot([(10.0, 0.5)], [(10.5, 1.0)], depth_cap=5, ts_event=1),
            quote((9.9, 0.7), (10.5, 1.0), ts_event=5),
            snapshot([(10.0, 0.5), (9.9, 0.7), (9.8, 0.1)], [(10.5, 1.0)], depth_cap=5, ts_event=4),
        ]
    )
    events = feed.events()[-1:]
    assert [(int(row["tick"]), int(row["lots"]), int(row["time"])) for row in events] == [(98, 10, 5)]


def test_books_that_are_not_the_fused_one_are_passed_over() -> None:
    assert told(snapshot([(10.0, 0.5)], [], fused=False), quote((10.0, 0.5), None, fused=False)) == []
    assert told(diff([(10.0, 0.5)], fused=False)) == []


def test_the_first_snapshot_after_a_gap_is_marked() -> None:
    """What it shows says nothing of what was cancelled meanwhile. The next one does."""
    fields: dict[str, Any] = {"ts_event": None, "ts_recv": 1, "capture_seq": 0, "sub_seq": 0}
    gap = StreamEvent(VENUE, "A", "A-B", **fields, kind=EventKind.GAP, stream="full")
    first, second, third = (snapshot([(10.0, size)], [], depth_cap=5) for size in (0.5, 0.4, 0.3))
    codes = [name for name, *_ in told(first, second, gap, third, first)]
    assert [code for code in codes if code != "HORIZON"] == ["SYNC_LEVEL", "LEVEL", "SYNC_LEVEL", "LEVEL"]


def test_a_message_without_a_time_happens_when_the_one_before_did() -> None:
    """The very first one when it was received."""
    feed = MarketFeed({KEY: SCALE})
    feed.take_all([diff([(9.0, 1.0)], ts_recv=4), deal(), diff([(9.0, 2.0)], ts_recv=11, capture_seq=4)])
    events = feed.events()
    assert events["time"].tolist() == [4, 5, 5]
    assert (events["recv"].tolist(), events["frame"].tolist()) == ([4, 9, 11], [0, 3, 4])


def test_counts_of_orders_are_handed_on() -> None:
    feed = MarketFeed({KEY: SCALE})
    feed.take_all([diff([(9.0, 1.0)], bid_counts=(3,)), diff([(9.1, 1.0)], bid_counts=())])
    assert feed.events()["count"].tolist() == [3, -1]


def test_a_level_that_is_said_again_is_no_event_and_one_with_another_number_of_orders_is() -> None:
    """Else what was taken from it would be there again with every message, and what was traded would be forgotten."""
    first = snapshot([(10.0, 0.5), (9.9, 0.5)], [(10.5, 1.0)], depth_cap=2, bid_counts=(3, 2), ask_counts=(1,))
    later = snapshot([(10.0, 0.5), (9.9, 0.5)], [(10.5, 1.0)], depth_cap=2, bid_counts=(3, 1), ask_counts=(1,))
    assert told(first, first) == told(first)
    assert told(first, later)[4:] == [("LEVEL", 0, 99, 50)]
    joined = diff([(10.0, 0.5)], bid_counts=(3,)), snapshot([(10.0, 0.5)], depth_cap=None, bid_counts=(3,))
    assert told(*joined) == told(joined[0])


def test_a_price_off_the_tick_stops_with_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^A-B: price 10\.05 is no whole number of ticks of 0\.1; give a finer one"):
        told(deal(price=10.05))


def test_a_recording_becomes_the_market_that_its_book_shows(tmp_path: Path) -> None:
    """Books of five bids and two asks, and trades: the core's best prices are those of the last book."""
    recording = make(tmp_path / "tape", range(0, 60, 10), coins=("BTC",))
    pair = recording.trading_pairs[0]
    events = market_events([recording], {PairKey(VENUE, pair): PairScale(pair, Decimal("0.1"), Decimal("0.1"))})
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    assert core.run(events) == len(events)
    assert core.best() == (1040, 1060)
    assert (events["code"] == EventCode.TRADE).sum() > 0
    with pytest.raises(SymbolError):
        market_events([recording], {PairKey(VENUE, "X-Y"): PairScale("X-Y", Decimal(1), Decimal(1))})


def test_other_forms_have_nothing_to_add_to_a_book_of_diffs() -> None:
    """A capped snapshot or a quote beside it is late or shallow: neither removes what the diffs say."""
    exact = diff([(10.0, 0.5), (9.9, 0.5)], [(10.5, 1.0)])
    shallow = snapshot([(10.0, 0.1)], [(10.5, 1.0)], form="fast", depth_cap=1)
    assert told(exact, shallow, quote((9.9, 0.1), (10.5, 1.0))) == told(exact)
    joined = snapshot([(10.0, 0.5)], [(10.5, 1.0)], depth_cap=None)
    assert told(joined, shallow) == told(joined)


_sides = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 3)), max_size=3, unique_by=lambda level: level[0])
_forms = st.sampled_from([("full", 3), ("fast", 1), ("bbo", 0)])


@settings(max_examples=60)
@given(st.lists(st.tuples(_forms, st.integers(0, 12), _sides, _sides), max_size=12))
def test_the_core_holds_the_levels_of_the_fused_book(steps: list[Any]) -> None:
    """After every message, whatever its form and however late: the same levels on both sides, and no more."""
    feed, core, at = MarketFeed({KEY: SCALE}), MatchingCore([PairFacts()], Rules(), compiled=False), 0
    tracker = OrderBookTracker()
    for (form, cap), ts_event, bids, asks in steps:
        low = sorted(((round(10.0 - level / 10, 1), lots / 100) for level, lots in bids), reverse=True)
        high = sorted((round(10.1 + level / 10, 1), lots / 100) for level, lots in asks)
        if form == "bbo":
            message: Any = quote(*(side[0] if side else None for side in (low, high)), ts_event=ts_event)
        else:
            message = snapshot(low[:cap], high[:cap], form=form, depth_cap=cap, ts_event=ts_event)
        tracker.apply(message)
        feed.take_all([message])
        events = feed.events()
        core.run(events, at)
        at = len(events)
        book = tracker.book("A-B")
        for line, side, sign in ((0, book.bids, 1), (1, book.asks, -1)):
            expected = {sign * round(level.price * 10): round(level.size * 100) for level in side}
            assert int(core.state.book.levels[line]) == len(expected)
            assert {key: int(plain(size_at)(core.state.book, line, key)) for key in expected} == expected


def test_trades_that_passed_by_are_known_again_and_the_oldest_are_forgotten_one_by_one() -> None:
    feed = PairFeed(0, KEY, SCALE, EventBuffer())
    keys = [(str(number), number) for number in range(70_000)]
    for begin in range(0, len(keys), 7):
        feed.pass_trades(keys[begin : begin + 7])
    assert not feed.are_new(keys[-1:])
    assert feed.are_new([("new", 1), ("new", 2)])
    assert not feed.are_new([("new", 1), ("new", 1)])
    assert feed.are_new(keys[: 70_000 - 65_536])
    assert not feed.are_new(keys[70_000 - 65_536 :][:1])
