"""What books, sides, trackers and messages look like at a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

import tickdeck as td
from toolkit.digest import canonical_bytes

TS = 1_785_000_000_123_456_789
HEAD = ("x", "BTC", "BTC-USD", TS - 5, TS, 7, 0)


def book(**levels: Any) -> td.OrderBook:
    found = td.OrderBook("BTC-USD", "x")
    found.apply_diff(levels.get("bids", ()), levels.get("asks", ()))
    found.is_stale, found.stale_cause = False, ""
    return found


def test_a_book_is_one_line() -> None:
    assert repr(td.OrderBook()) == "<OrderBook of no pair: - / -, 0 bids, 0 asks, stale (no snapshot yet)>"
    found = book(bids=[(100.0, 1.5), (99.0, 2.0)], asks=[(100.5, 0.1)])
    assert repr(found) == "<OrderBook BTC-USD on x: 100 x 1.5 / 100.5 x 0.1, 2 bids, 1 asks>"
    assert repr(book(bids=[(101.0, 1.0)], asks=[(100.0, 1.0)])).endswith(", crossed>")
    assert repr(found.bids) == "<BookSide bids: 2 levels, best 100 x 1.5>"
    assert repr(book().asks) == "<BookSide asks: empty>"


@pytest.mark.parametrize("shape", ["levels", "columns"])
@pytest.mark.parametrize("side", ["bids", "asks"])
def test_a_side_has_places_counted_from_the_best(shape: str, side: str) -> None:
    """As a list of its levels has, in both shapes that a side is held in."""
    prices = [100.0, 101.0, 102.0, 103.0, 104.0]
    found = book(**{side: [(price, price / 10) for price in prices]})
    levels = getattr(found, side)
    if shape == "columns":
        levels.replace(levels.columns())
    whole = list(levels)
    assert whole[0].price == (104.0 if side == "bids" else 100.0)
    assert [levels[place] for place in range(5)] == whole
    assert [levels[place] for place in range(-5, 0)] == whole
    for cut in (
        slice(None),
        slice(2),
        slice(1, 3),
        slice(-2, None),
        slice(None, None, 2),
        slice(None, None, -1),
        slice(9, 12),
    ):
        assert levels[cut] == whole[cut]
    for place in (5, -6):
        with pytest.raises(IndexError, match=f"^no level {place} of 5 on the {side[:-1]} side$"):
            levels[place]
    with pytest.raises(TypeError):
        levels["best"]


def test_an_empty_side_has_no_first_level() -> None:
    with pytest.raises(IndexError, match=r"^no level 0 of 0 on the bid side$"):
        td.OrderBook().bids[0]
    assert td.OrderBook().bids[:3] == []


def test_a_message_has_its_times_in_words_beside_the_ns() -> None:
    trade = td.Trade(*HEAD, td.Side.BUY, 100.5, 2.0, "t1")
    text = repr(trade)
    assert text.startswith("Trade(venue='x', symbol='BTC', trading_pair='BTC-USD', ts_event=1785000000123456784 [2026-")
    assert f"ts_recv={TS} [2026-07-25T17:20:00.123456789Z], capture_seq=7, sub_seq=0" in text
    assert "aggressor_side='buy', price=100.5, size=2.0" in text
    assert str(trade) == text
    untimed = msgspec.structs.replace(trade, ts_event=None)
    assert "ts_event=None, ts_recv=" in repr(untimed)


def test_levels_of_a_book_message_are_cut() -> None:
    columns = [tuple(float(price) for price in range(20, 0, -1)), (1.0,) * 20, (), (21.0, 22.0), (1.0, 1.0), ()]
    text = repr(td.BookSnapshot(*HEAD, "full", True, 20, *columns))  # type: ignore[arg-type]
    assert "bid_prices=(20.0, 19.0, 18.0, ... 20 in all)" in text
    assert "ask_prices=(21.0, 22.0)" in text


def test_names_of_a_venue_cannot_recolour_the_prompt() -> None:
    event = td.StreamEvent(*HEAD, td.EventKind.NOTICE, detail="\x1b[31mred\nline")
    assert "\x1b" not in repr(event)
    assert "\n" not in repr(event)
    assert "\x1b" not in repr(td.OrderBook("\x1b[31m", "x"))


def test_only_what_is_printed_has_changed() -> None:
    """Canonical bytes, on which digests rest, and equality are those of the fields."""
    trade = td.Trade(*HEAD, td.Side.BUY, 100.5, 2.0, "t1")
    assert b"2026" not in canonical_bytes(trade)
    assert msgspec.msgpack.decode(canonical_bytes(trade))
    assert trade == td.Trade(*HEAD, td.Side.BUY, 100.5, 2.0, "t1")


@dataclass
class Case:
    """What a tracker of accounts was told, and what it then says of itself."""

    messages: tuple[td.Message, ...]
    said: str


@pytest.mark.parametrize(
    "case",
    [
        Case((), "<UserStreamTracker orders: 0 active, 0 ended; open positions: 0; balances: 0>"),
        Case(
            (td.PositionUpdate(*HEAD, "0x1", 1.5), td.BalanceUpdate(*HEAD, "0x1", "USDC", 10.0, 9.0, "perp")),
            "<UserStreamTracker orders: 0 active, 0 ended; open positions: 1; balances: 1>",
        ),
    ],
)
def test_accounts_are_one_line(case: Case) -> None:
    tracker = td.UserStreamTracker()
    for message in case.messages:
        tracker(message)
    assert repr(tracker) == case.said
    for each in (tracker.orders, tracker.positions, tracker.balances):
        assert repr(each).startswith(f"<{type(each).__name__} ")
