"""What a command line says of latency: units, kinds of requests, recorded round trips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from replay.backtest.latency_settings import LatencySetting, parse_latency, read_trips
from replay.market.layout import EVENT, RequestCode
from tests.replay.backtest.market_messages import Messages
from toolkit.errors import ConfigError

MS = 1_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("feed", LatencySetting(0, 0, True)),
        ("entry=3.5ms,response=2ms", LatencySetting(3_500_000, 2 * MS)),
        ("feed,entry=1ms", LatencySetting(MS, 0, True)),
        ("entry=0ms, response=0s", LatencySetting(0, 0)),
        ("entry=3ms,response=1ms,cancel.entry=2ms", LatencySetting(3 * MS, MS, False, {"cancel.entry": 2 * MS})),
        ("feed,new.response=1us,amend.entry=0ms", LatencySetting(0, 0, True, {"new.response": 1000, "amend.entry": 0})),
        ("trips=a.csv", LatencySetting(trips="a.csv")),
        ("feed,times=2", LatencySetting(follows_feed=True, times=2.0)),
        ("times=0.5,entry=2ms,response=1ms", LatencySetting(2 * MS, MS, times=0.5)),
        ("trips=a.csv,times=0", LatencySetting(trips="a.csv", times=0.0)),
    ],
)
def test_settings_have_units(text: str, expected: LatencySetting) -> None:
    assert parse_latency(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not understood"),
        ("3ms", "'3ms' is not understood"),
        ("entry=3,response=2ms", "'3' is no length of time of 0 or more with its unit"),
        ("entry=-3ms,response=2ms", "'-3ms' is no length of time of 0 or more with its unit"),
        ("entry=3ms,response=-0.5ms", "'-0.5ms' is no length of time of 0 or more"),
        ("entry=3e3us,response=2ms", "'3e3us' is no length of time"),
        ("entry=nan,response=2ms", "'nan' is no length of time"),
        ("feed,cancel.entry=2", "'2' is no length of time of 0 or more with its unit"),
        ("entry=3ms", "says one way only"),
        ("cancel.entry=3ms", "says one way only"),
        ("entry=3ms,entry=3ms,response=1ms", "'entry=3ms' is not understood"),
        ("feed,buy.entry=3ms", "'buy.entry=3ms' is not understood"),
        ("feed,.entry=3ms", "'.entry=3ms' is not understood"),
        ("feed=yes", "'feed=yes' is not understood"),
        ("trips=", "'trips=' is not understood"),
        ("trips=a.csv,feed", "expected trips=FILE alone"),
        ("feed,times=", "'times=' is not understood"),
        ("entry=1ms,response=1ms,times=2,times=2", "'times=2' is not understood"),
        ("times=2", "says one way only"),
    ],
)
def test_anything_else_is_refused_with_an_example(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_latency(text)
    assert message in str(caught.value)
    assert "entry=3.5ms" in str(caught.value) or "trips=FILE" in str(caught.value)


def test_one_kind_of_request_may_take_another_time() -> None:
    """`cancel` is also of all orders at once; what is not named takes what is said for all."""
    model = parse_latency("entry=5ms,response=4ms,cancel.entry=2ms,cancel.response=1ms").on_receipt()
    entries = {code: model.entry_ns("a", code, 0) // MS for code in RequestCode}
    assert entries == {RequestCode.NEW: 5, RequestCode.AMEND: 5, RequestCode.CANCEL: 2, RequestCode.CANCEL_ALL: 2}
    responses = [model.response_ns("a", code, 0) // MS for code in (*RequestCode, None)]
    assert responses == [4, 4, 1, 1, 4]


def test_round_trips_come_from_csv_or_json(tmp_path: Path) -> None:
    table, listed = tmp_path / "trips.csv", tmp_path / "trips.json"
    table.write_text("request,note,exchange,response\n100,a,120,150\n200,b,0,250\n")
    listed.write_text("[[100, 120, 150], [200, 0, 250]]")
    assert read_trips(table) == read_trips(listed) == [(100, 120, 150), (200, 0, 250)]
    model = LatencySetting(trips=str(table)).on_receipt()
    assert model.entry_ns("a", RequestCode.NEW, 100) == -50
    assert model.response_ns("a", None, 120) == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("request,response\n1,2\n", "have no column exchange, expected request, exchange, response"),
        ("request,exchange,response\n1,x,3\n", "row 1: found ['1', 'x', '3'], expected request, exchange and response"),
        ("[[1, 2]]", "row 1: found [1, 2], expected"),
        ("[", "are no JSON"),
        ("[5]", "row 1: found 5, expected"),
    ],
)
def test_a_file_that_holds_no_round_trips_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "trips.csv"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_trips(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_without_rows_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trips.csv"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_trips(path)
    path.write_text("request,exchange,response\n")
    with pytest.raises(ConfigError, match="no round trip to interpolate between"):
        LatencySetting(trips=str(path)).on_receipt()


def test_all_of_it_may_be_multiplied() -> None:
    """Of the feed the part that stands for the way of requests: what one sees is as late as it was."""
    model = parse_latency("entry=3ms,response=1ms,cancel.entry=2ms,times=2").on_receipt()
    assert model.entry_ns("testing", RequestCode.NEW, 0) == 6 * MS
    assert model.entry_ns("testing", RequestCode.CANCEL, 0) == 4 * MS
    assert model.response_ns("testing", RequestCode.NEW, 0) == 2 * MS
    say = Messages()
    for times, entry in ((0, 5), (1, 5 + 5 + 1), (2, 5 + 10 + 2)):
        model = parse_latency(f"feed,entry=1ms,times={times}").on_receipt()
        model.observe(say.trade(10 * MS, "buy", 100, 1, event_ns=5 * MS))
        assert model.entry_ns("testing", RequestCode.NEW, 10 * MS) == entry * MS


def test_recorded_round_trips_may_be_multiplied(tmp_path: Path) -> None:
    (tmp_path / "trips.csv").write_text("request,exchange,response\n0,3000000,5000000\n9000000,12000000,14000000\n")
    for times in (0, 1, 2):
        model = parse_latency(f"trips={tmp_path / 'trips.csv'},times={times}").on_receipt()
        assert model.entry_ns("testing", RequestCode.NEW, 4 * MS) == 3 * MS * times
        assert model.response_ns("testing", RequestCode.NEW, 12 * MS) == 2 * MS * times


@pytest.mark.parametrize("factor", ["-1", "two", "nan", "1e9", "2x"])
def test_a_factor_is_a_number_of_nothing_or_more(factor: str) -> None:
    with pytest.raises(ConfigError, match=r"expected a number of 0 or more, for instance times=2$"):
        parse_latency(f"feed,times={factor}")


def test_on_the_venues_clock_lengths_alone_are_multiplied() -> None:
    nothing = np.zeros(0, EVENT)
    assert parse_latency("entry=3ms,response=1ms,times=2").at_venue(nothing, 0).entry_ns(0) == 6 * MS
    with pytest.raises(ConfigError, match="is for the receive clock only"):
        parse_latency("feed,times=2").at_venue(nothing, 0)
