"""Order scripts: what is read of them, and what is refused with the row that is wrong."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from replay.backtest.latency import ConstantLatency
from replay.backtest.requests import Refusal
from replay.backtest.scales import PairScale
from replay.backtest.script import Action, play_script, read_script, script_actions
from replay.backtest.venue_clock import VenueScheduler
from replay.market.core import MatchingCore, PairFacts
from replay.market.layout import StateCode, TifCode
from replay.market.rules import Rules
from tests.replay.market.market_tapes import BOOK, events
from toolkit.errors import ConfigError

SCALE = PairScale("A-B", Decimal("0.1"), Decimal("0.01"))


def test_rows_are_lists_or_objects(tmp_path: Path) -> None:
    """Both forms of one script, alone and under `actions`; a list may go on behind the columns."""
    rows: list[Any] = [
        [5, "buy", 1, 990, 0.5, "GTX", "limit", 990, 1010],
        {"local_ns": 6, "what": "sell", "id": 2, "price": 101.0, "qty": 1},
        {"local_ns": 6, "what": "buy", "id": 3, "qty": 1, "type": "market", "tif": "IOC"},
        [7, "modify", 1, 991, 0.25],
        [8, "cancel", 1, None, None, None, None],
        {"local_ns": 9, "what": "cancel_all"},
    ]
    expected = [
        Action(5, "buy", 1, 990, 50, TifCode.POST_ONLY),
        Action(6, "sell", 2, 1010, 100),
        Action(6, "buy", 3, 0, 100, TifCode.IOC, is_market=True),
        Action(7, "modify", 1, 991, 25),
        Action(8, "cancel", 1),
        Action(9, "cancel_all"),
    ]
    for number, document in enumerate((rows, {"actions": rows, "words": "what it is"})):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document))
        assert read_script(path, SCALE) == expected


GOOD = {"local_ns": 5, "what": "buy", "id": 1, "price_ticks": 990, "qty": 0.5}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (GOOD | {"what": "byu"}, "what is 'byu', expected one of buy, sell, modify, cancel, cancel_all"),
        (GOOD | {"local_ns": "now"}, "local_ns is 'now', expected a whole number of 0 or more"),
        (GOOD | {"local_ns": 4.5}, "local_ns is 4.5, expected a whole number of 0 or more"),
        (GOOD | {"local_ns": True}, "local_ns is True, expected a whole number of 0 or more"),
        (GOOD | {"local_ns": 10**30}, f"local_ns is {10**30}, expected a whole number of 0 or more"),
        (GOOD | {"id": -1}, "id is -1, expected a whole number of 0 or more"),
        (GOOD | {"qty": 0}, "qty is 0, expected a number above 0"),
        (GOOD | {"qty": float("nan")}, "qty is nan, expected a number above 0"),
        (GOOD | {"qty": 0.005}, "A-B: size 0.005 is no whole number of lots of 0.01; give a finer one"),
        (GOOD | {"price_ticks": None}, "price_ticks is None, expected a whole number of 0 or more"),
        (GOOD | {"price_ticks": 0}, "price_ticks is 0, expected a price above 0"),
        (GOOD | {"price": 99.0}, "both price and price_ticks are given, expected one of them"),
        (GOOD | {"price_ticks": None, "price": 99.05}, "A-B: price 99.05 is no whole number of ticks of 0.1"),
        (GOOD | {"tif": "DAY"}, "tif is 'DAY', expected one of GTC, IOC, FOK, GTX"),
        (GOOD | {"type": "stop"}, "type is 'stop', expected one of limit, market"),
        (GOOD | {"type": "market", "tif": "GTX"}, "a market order cannot be post-only"),
        (GOOD | {"prize": 3}, "unknown field 'prize', expected local_ns, what, id"),
        ("buy", "found 'buy', expected an object or a list of local_ns, what, id"),
        (3, "found 3, expected an object or a list of local_ns, what, id"),
        ([5, "buy"], "id is None, expected a whole number of 0 or more"),
        (GOOD | {"local_ns": 3}, "local_ns is 3, expected 4 or later, as the row before"),
    ],
)
def test_a_row_that_is_none_is_named(row: Any, message: str) -> None:
    rows = [GOOD | {"local_ns": 4}, row]
    with pytest.raises(ConfigError) as caught:
        script_actions(rows, SCALE, where="orders.json")
    assert str(caught.value).startswith(f"orders.json, row 2: {message}")
    assert "\n" not in str(caught.value)


def test_a_limit_that_the_venue_takes_no_order_at_is_refused_in_ticks_too() -> None:
    """Five figures at most; a cancel has no limit, nor has an order at market."""
    scale = PairScale("A-B", Decimal("0.1"), Decimal("0.01"), 5)
    fine = [GOOD | {"price_ticks": 123450}, GOOD | {"what": "cancel"}, GOOD | {"type": "market"}]
    assert len(script_actions(fine, scale)) == 3
    for row in (GOOD | {"price_ticks": 123456}, GOOD | {"what": "modify", "price_ticks": None, "price": 12345.6}):
        with pytest.raises(
            ConfigError, match=r"^script, row 1: A-B: price 12345\.6 is no whole number of ticks of 1, "
        ):
            script_actions([row], scale)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is no JSON: "),
        (b"\xff\xfe", "is no JSON: "),
        (b"[" * 100_000, "is no JSON: "),
        (b'{"rows": []}', "holds no list of actions, expected one, alone or under `actions`"),
        (b"3", "holds no list of actions, expected one, alone or under `actions`"),
    ],
)
def test_a_file_that_is_no_script_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "orders.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_script(path, SCALE)
    assert str(caught.value).startswith(f"script {path} {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^script .*orders\.json cannot be read: No such file or directory$"):
        read_script(tmp_path / "orders.json", SCALE)


def test_actions_are_sent_after_all_that_happened_by_then() -> None:
    """Our bid is filled at 300, heard of at 305; its cancel at 305 knows that, and one of an unknown order is refused."""
    tape = events([*BOOK, ("sell", 98, 5)])
    tape["time"][-1] = 300
    core = MatchingCore([PairFacts()], Rules(), compiled=False)
    scheduler = VenueScheduler(core, tape, ConstantLatency(entry=3, response=5))
    rows = [
        [200, "buy", 1, 99, 0.05],
        [250, "cancel", 7],
        [305, "buy", 1, 98, 0.05],
        [306, "modify", 1, 97, 0.04],
        [320, "cancel_all"],
    ]
    refusals = play_script(scheduler, script_actions(rows, SCALE))
    assert refusals == [None, Refusal.UNKNOWN_ID, None, None, None]
    states = [each.state for each in scheduler.responses]
    assert states == [
        StateCode.OPEN,
        StateCode.FILLED,
        StateCode.OPEN,
        StateCode.OPEN,
        StateCode.CANCELLED,
        StateCode.UNKNOWN,
    ]
