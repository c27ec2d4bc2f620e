"""Which trades were told before, and which are missing, whatever order they come in."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.importing.importer import ImportOptions, import_capture
from recordings.queries.gaps import find_gaps
from tests.toolkit.venues.binance_harness import MS, Session, events, listed
from toolkit.messages import OUT_OF_ORDER, EventKind, Message, StreamEvent, Trade
from toolkit.venues.binance import trade_tape as told_module
from toolkit.venues.binance.trade_tape import ToldTrades

BTC = listed("BTCUSDT", "BTC", "USDT")


def trade(number: int, time: int | None = None, **more: Any) -> dict[str, Any]:
    at = MS + number if time is None else time
    data = {"e": "trade", "E": at, "T": at, "s": "BTCUSDT", "t": number, "p": "100", "q": "1", "m": True}
    return data | more


def aggregate(number: int, first: int, last: int, **more: Any) -> dict[str, Any]:
    at = MS + last
    data = {"e": "aggTrade", "E": at, "a": number, "s": "BTCUSDT", "p": "100", "q": str(last - first + 1)}
    return data | {"f": first, "l": last, "T": at, "m": True} | more


class Heard:
    """A session that notes what it was told for the first time."""

    def __init__(self, venue: str = "binance-usdm") -> None:
        self.session = Session(venue)
        self.volume = 0.0
        self.events: list[StreamEvent] = []

    def take(self, messages: list[Message]) -> bool:
        """Whether the trade in these messages is new."""
        self.events += [message for message in messages if isinstance(message, StreamEvent)]
        trades = [message for message in messages if isinstance(message, Trade)]
        assert len(trades) == 1
        if not trades[0].is_duplicate:
            self.volume += trades[0].size
        return not trades[0].is_duplicate

    def trade(self, number: int, time: int | None = None) -> bool:
        return self.take(self.session.stream("btcusdt@trade", trade(number, time)))

    def aggregate(self, number: int, first: int, last: int) -> bool:
        return self.take(self.session.stream("btcusdt@aggTrade", aggregate(number, first, last)))


# -- what was told before -------------------------------------------------------------------------------------------


def test_a_late_trade_is_new_and_a_repeated_one_is_not() -> None:
    heard = Heard()
    assert [heard.trade(number) for number in (10, 11, 14, 13, 12, 13, 14, 10)] == [True] * 5 + [False] * 3
    assert heard.volume == 5


def test_aggregates_in_another_order_lose_no_volume() -> None:
    heard = Heard()
    told = [heard.aggregate(*ids) for ids in ((1, 10, 14), (3, 18, 20), (2, 15, 17), (2, 15, 17), (4, 21, 21))]
    assert told == [True, True, True, False, True]
    assert heard.volume == 12


def test_trades_before_the_first_that_was_told_are_new() -> None:
    """Files that are given in the wrong order, for example."""
    heard = Heard()
    assert all(heard.trade(number) for number in [*range(100, 110), *range(90, 100)])
    assert not any(heard.trade(number) for number in range(90, 110))
    assert heard.events == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.booleans()), max_size=60))
@settings(max_examples=60, deadline=None)
def test_ranges_are_the_set_of_ids(told: list[tuple[int, int, bool]]) -> None:
    """Of both streams, in any order: an aggregate that is told in part adds nothing."""
    ranges, ids = ToldTrades(), set[int]()
    for first, more, is_aggregate in told:
        last = first + more if is_aggregate else first
        wanted = set(range(first, last + 1))
        assert ranges.has(first, last) == bool(wanted & ids)
        if not wanted & ids:
            ranges.add(first, last, 0)
            ids |= wanted
        assert {n for a, b in zip(ranges.starts, ranges.ends, strict=True) for n in range(a, b + 1)} == ids
        assert all(end + 1 < start for end, start in zip(ranges.ends, ranges.starts[1:], strict=False))
        assert not ranges.ends or ranges.starts[ranges.at] <= ranges.ends[ranges.at]


def test_more_holes_than_are_kept_are_forgotten_from_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_module, "RANGES_MAX", 8)
    ranges = ToldTrades()
    for number in range(0, 100, 2):
        assert not ranges.has(number, number)
        ranges.add(number, number, 0)
    assert len(ranges.starts) == 8
    assert all(ranges.has(number, number) for number in range(0, 100, 2))
    assert not ranges.has(97, 97)
    assert (ranges.starts[ranges.at], ranges.ends[ranges.at]) == (98, 98)


@pytest.mark.parametrize("seconds", [6, 3600])
def test_ids_that_begin_again_are_new_until_they_are_told_again(seconds: int) -> None:
    heard = Heard()
    assert all(heard.trade(number) for number in range(50, 60))
    later = MS + seconds * 1000
    assert all(heard.trade(number, later + number) for number in range(45, 65))
    assert not any(heard.trade(number, later + number) for number in range(45, 65))
    assert [(event.kind, event.cause) for event in heard.events] == [(EventKind.NOTICE, "renumbered")]


def test_a_clock_that_is_set_within_an_aggregate_is_no_new_numbering() -> None:
    heard = Heard()
    heard.trade(10)
    assert not heard.take(heard.session.stream("btcusdt@aggTrade", aggregate(1, 10, 11, T=MS + 9000)))
    assert heard.trade(11, MS + 9000)
    assert heard.events == []


def test_a_clock_of_the_venue_that_goes_back_repeats_nothing() -> None:
    heard = Heard()
    assert all(heard.trade(number, MS + number) for number in range(1, 10))
    assert all(heard.trade(number, MS - 3_600_000 + number) for number in range(10, 20))
    assert not any(heard.trade(number, MS + number) for number in range(1, 10))
    assert heard.events == []


# -- what is missing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm", "binance-coinm"])
@pytest.mark.parametrize("missing", [1, 8])
def test_a_hole_in_trade_ids_is_a_gap_from_the_trade_before_it(venue: str, missing: int) -> None:
    heard = Heard(venue)
    heard.trade(10)
    before = heard.session.now
    heard.session.wait(2)
    heard.trade(11 + missing)
    (gap,) = heard.events
    assert (gap.kind, gap.stream, gap.cause, gap.trading_pair) == (EventKind.GAP, "trades", "sequence", "BTC-USDT")
    assert (gap.ts_start, gap.ts_end) == (before, heard.session.now)
    assert gap.detail == f"expected number 11, received {11 + missing}: {missing} missing"
    heard.trade(12 + missing)
    assert len(heard.events) == 1


@pytest.mark.parametrize("venue", ["binance-spot", "binance-usdm", "binance-coinm"])
@pytest.mark.parametrize("order", [(12, 11, 13), (14, 11, 13, 12, 15), (13, 11, 12, 16, 15, 14, 17)])
def test_trades_in_another_order_are_no_gap_in_the_end(venue: str, order: tuple[int, ...]) -> None:
    """Live nobody can know that: the gap is told, and withdrawn when the last of them has come."""
    heard = Heard(venue)
    for number in (10, *order):
        heard.session.wait(0.01)
        assert heard.trade(number)
    gaps = [event for event in heard.events if event.kind is EventKind.GAP]
    withdrawn = [event for event in heard.events if event.kind is EventKind.NOTICE]
    assert [(event.ts_start, event.ts_end, event.stream) for event in withdrawn] == [
        (event.ts_start, event.ts_end, event.stream) for event in gaps
    ]
    assert gaps
    assert {event.cause for event in withdrawn} == {OUT_OF_ORDER}


def test_aggregates_in_another_order_are_no_gap_in_the_end() -> None:
    heard = Heard()
    for ids in ((1, 10, 14), (3, 18, 20), (2, 15, 17), (4, 21, 21)):
        heard.aggregate(*ids)
    assert [event.kind for event in heard.events] == [EventKind.GAP, EventKind.NOTICE]
    assert heard.events[1].detail == "received number 2 late: with it none is missing of those before 3"


@pytest.mark.parametrize("order", [(14, 12, 11, 15), (76, *range(11, 75)), (12, *range(13, 280), 11)])
def test_a_gap_stays_one_where_some_never_come_or_come_much_later(order: tuple[int, ...]) -> None:
    """Or were many: that is no order that is off by a little."""
    heard = Heard()
    for number in (10, *order):
        heard.trade(number)
    assert [event.kind for event in heard.events] == [EventKind.GAP]


def test_what_may_be_filled_survives_a_checkpoint() -> None:
    heard = Heard()
    heard.trade(10)
    heard.trade(12)
    other = Heard()
    other.session.protocol.restore(heard.session.protocol.checkpoint())
    other.session.now = heard.session.now
    other.trade(11)
    assert [event.cause for event in other.events] == [OUT_OF_ORDER]


def test_aggregates_are_counted_by_their_own_numbers() -> None:
    """Trades of the insurance fund are in none, so the trades of two aggregates need not adjoin."""
    heard = Heard()
    heard.aggregate(1, 10, 12)
    heard.aggregate(2, 15, 16)
    assert heard.events == []
    heard.aggregate(5, 17, 17)
    assert [(event.stream, event.cause) for event in heard.events] == [("agg_trades", "sequence")]


def test_the_other_stream_does_not_hide_a_hole_nor_make_one() -> None:
    heard = Heard()
    heard.trade(10)
    assert heard.aggregate(1, 11, 13)
    assert not heard.trade(11)
    assert heard.events == []
    assert not heard.trade(13)
    assert [event.stream for event in heard.events] == ["trades"]


def test_a_trade_of_nothing_takes_a_number() -> None:
    heard = Heard()
    heard.trade(10)
    assert heard.session.stream("btcusdt@trade", trade(11, p="0", q="0", X="NA")) == []
    heard.trade(12)
    assert heard.events == []


@pytest.mark.parametrize(
    ("number", "text"), [(11, "none is missing before 11"), (15, "4 numbers are missing before 15")]
)
def test_a_lost_connection_says_how_many_trades_it_cost(number: int, text: str) -> None:
    session = Session("binance-spot", ("BTC-USDT",), ("trades",))
    session.start(BTC)
    session.stream("btcusdt@trade", trade(10))
    session.control("disconnected", role="public")
    session.wait(3)
    session.control("connected", role="public")
    gap, _ = session.stream("btcusdt@trade", trade(number))
    assert events([gap]) == [(EventKind.GAP, "trades", "disconnect")]
    assert getattr(gap, "detail", "") == text


def test_holes_are_among_the_gaps_of_an_import(tmp_path: Any) -> None:
    """With compiled code and without, late and repeated trades included."""
    order = [number for number in range(1, 400) if number not in (50, 51, 52, 200)]
    random.Random(5).shuffle(tail := order[300:])
    numbers = [*order[:300], *tail, 60, 61]
    import json

    lines = (
        f"{(MS + at) * 1_000_000} "
        + json.dumps({"stream": "btcusdt@trade", "data": trade(number)}, separators=(",", ":"))
        for at, number in enumerate(numbers)
    )
    path = tmp_path / "capture.txt"
    path.write_text("\n".join(lines) + "\n")
    found = []
    for compiled in (True, False):
        folder = tmp_path / f"recording-{compiled}"
        options = ImportOptions(venue="binance-spot", line_format="collector", compiled=compiled)
        manifest = import_capture([path], folder, options)
        assert manifest.counts["trades_duplicate"] == 2
        gaps = find_gaps(folder)
        assert set(gaps["stream"]) == {"trades"}
        found.append(gaps.rows())
    assert found[0] == found[1]
    assert len(found[0]) >= 2


# -- what no trade can mean -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "data"),
    [
        ("trade", trade(1, e="aggTrade")),
        ("trade", trade(1, s="ETHUSDT")),
        ("trade", trade(1, t=2.0)),
        ("trade", trade(1, t="2")),
        ("trade", trade(-1)),
        ("trade", trade(1, m="1")),
        ("trade", trade(1, m=1)),
        ("trade", trade(1, T=float(MS))),
        ("aggTrade", aggregate(1, 5, 6, e="trade")),
        ("aggTrade", aggregate(1, 5, 6, s="ETHUSDT")),
        ("aggTrade", aggregate(1, 6, 5)),
        ("aggTrade", aggregate(1, 5, 6, l="6")),
        ("aggTrade", aggregate(1, 5, 6, a=1.0)),
        ("bookTicker", {"e": "trade", "u": 1, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1", "T": MS}),
        ("bookTicker", {"u": 1, "s": "ETHUSDT", "b": "1", "B": "1", "a": "2", "A": "1", "T": MS}),
        ("bookTicker", {"u": 1.0, "s": "BTCUSDT", "b": "1", "B": "1", "a": "2", "A": "1", "T": MS}),
        ("depth", {"e": "depthUpdate", "E": MS, "s": "ETHUSDT", "U": 1, "u": 2, "pu": 0, "b": [], "a": []}),
        ("depth", {"e": "kline", "E": MS, "s": "BTCUSDT", "U": 1, "u": 2, "pu": 0, "b": [], "a": []}),
        ("depth", {"e": "depthUpdate", "E": MS, "s": "BTCUSDT", "U": "1", "u": 2, "pu": 0, "b": [], "a": []}),
        ("depth20", {"e": "depthUpdate", "E": MS, "s": "ETHUSDT", "U": 1, "u": 2, "pu": 0, "b": [], "a": []}),
        ("depthSnapshot", {"lastUpdateId": 5.0, "bids": [], "asks": []}),
        ("depthSnapshot", {"lastUpdateId": 5, "symbol": "ETHUSDT", "bids": [], "asks": []}),
        ("markPrice", {"e": "markPriceUpdate", "E": MS, "s": "ETHUSDT", "p": "1", "T": 0}),
        ("forceOrder", {"e": "forceOrder", "E": MS, "o": {"s": "ETHUSDT", "S": "BUY", "q": "1", "p": "1", "T": MS}}),
    ],
)
def test_what_the_venue_cannot_mean_is_an_error(words: str, data: dict[str, Any]) -> None:
    session = Session("binance-usdm")
    before = session.protocol.checkpoint()
    assert events(session.stream(f"btcusdt@{words}", data)) == [(EventKind.PARSE_ERROR, "", "")]
    assert session.protocol.checkpoint() == before


@pytest.mark.parametrize("place", [b'"unused":"\xff",', b'"unused":["\xc3\x28"],', b'"\xff":1,'])
def test_text_that_is_none_is_an_error_wherever_it_is(place: bytes) -> None:
    session = Session("binance-usdm")
    body = b'{"stream":"btcusdt@trade","data":{%s"E":%d,"T":%d,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}}'
    assert events(session.feed(body % (place, MS, MS))) == [(EventKind.PARSE_ERROR, "", "")]
    assert events(session.feed(body % ('"unused":"é",'.encode(), MS, MS))) == []
