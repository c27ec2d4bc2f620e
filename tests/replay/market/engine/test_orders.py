"""The words of an order's life, which the matching core of backtests uses too."""

from __future__ import annotations

import pytest

from replay.market import layout
from replay.market.engine.instruments import Instrument, Kind
from replay.market.engine.orders import Order, OrderRecord, Reason, Tif
from toolkit.account_messages import OrderState

COIN = Instrument(symbol="A", kind=Kind.PERPETUAL, px_decimals=2, sz_decimals=1)


def test_a_word_that_the_core_has_too_means_the_same() -> None:
    """Neither has a second name for what the other has."""
    assert {each.name for each in Tif} <= {each.name for each in layout.TifCode}
    shared = {"MARGIN", "REQUESTED", "SELF_TRADE", "NO_MATCH", "UNFILLED", "WOULD_CROSS"}
    assert shared == {each.name for each in Reason} & {each.name for each in layout.Reason}


@pytest.mark.parametrize("tif", Tif)
def test_only_an_immediate_order_never_rests(tif: Tif) -> None:
    assert tif.rests is (tif is not Tif.IOC)


def test_a_view_does_not_follow_its_order() -> None:
    record = OrderRecord(Order(1, "me", True, 100, 7), COIN)
    view = record.view
    record.order.lots, record.order.tif = 3, Tif.IOC
    assert (view.lots, view.orig_lots, view.tif) == (7, 7, Tif.GTC)
    assert record.view.lots == 3


def test_a_woken_order_is_open_to_nobody() -> None:
    record = OrderRecord(Order(1, "me", True, 100, 7), COIN)
    assert record.is_open
    record.is_triggered = True
    assert not record.is_open
    record.is_triggered, record.state = False, OrderState.CANCELLED
    assert not record.is_open


@pytest.mark.parametrize(("px", "tick"), [(99_999, 1), (100_000, 10), (1_234_567, 100), (99_999_999, 100)])
def test_a_tick_keeps_the_figures_and_never_grows_beyond_one(px: int, tick: int) -> None:
    """A price has five significant figures, or is a whole number."""
    assert COIN.tick(px) == tick
    assert COIN.is_valid_px(px - px % tick)
    assert not COIN.is_valid_px(px - px % tick + 1) or tick == 1
