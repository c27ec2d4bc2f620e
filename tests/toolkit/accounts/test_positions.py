"""Positions and balances between the venue's statements."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolkit.account_harness import ACCOUNT, fill, position
from toolkit.account_messages import Fill, PositionUpdate
from toolkit.accounts.exact_sums import exact
from toolkit.accounts.positions import BalanceBook, PositionBook
from toolkit.messages import BalanceUpdate, FundingInfo, FundingKind, Side


def size_of(book: PositionBook) -> Decimal:
    found = book.find("BTC-USD")
    assert found is not None
    return found.size


def test_a_later_fill_says_what_the_position_is_now() -> None:
    book = PositionBook()
    book.on_position(position(5.0, entry_price=10.0))
    changed = book.on_fill(fill(1, 1.0, ts_ms=2, position_before=5.0, price=16.0))
    assert changed is not None
    assert (changed.size, changed.entry_price) == (Decimal(6), Decimal(11))


def test_a_fill_that_the_statement_includes_changes_nothing_however_late_it_comes() -> None:
    book = PositionBook()
    book.on_position(position(6.0, ts_ms=2))
    assert book.on_fill(fill(1, ts_ms=2, position_before=5.0)) is None
    assert book.on_fill(fill(2, ts_ms=1, position_before=4.0)) is None
    assert size_of(book) == Decimal(6)


def test_a_statement_from_before_the_newest_fill_is_passed_over() -> None:
    book = PositionBook()
    book.on_fill(fill(1, ts_ms=3, position_before=0.0))
    assert book.on_position(position(0.0, ts_ms=2)) is None
    assert size_of(book) == Decimal(1)


def test_history_and_spot_fills_are_no_positions() -> None:
    book = PositionBook()
    book.on_fill(fill(1, ts_ms=3, position_before=0.0, is_history=True))
    book.on_fill(fill(2, ts_ms=4, position_before=None))
    assert book.find("BTC-USD") is None


@pytest.mark.parametrize(
    ("start", "side", "size", "end", "entry"),
    [
        (2.0, Side.SELL, 1.0, "1", "10"),
        (2.0, Side.SELL, 2.0, "0", None),
        (2.0, Side.SELL, 5.0, "-3", "20"),
        (-2.0, Side.SELL, 2.0, "-4", "15"),
        (0.0, Side.BUY, 1.0, "1", "20"),
    ],
)
def test_entry_price_after_a_fill(start: float, side: Side, size: float, end: str, entry: str | None) -> None:
    book = PositionBook()
    book.on_position(position(start, entry_price=10.0 if start else None))
    changed = book.on_fill(fill(1, size, ts_ms=2, side=side, price=20.0, position_before=start))
    assert changed is not None
    assert changed.size == Decimal(end)
    assert changed.entry_price == (None if entry is None else Decimal(entry))


def test_unrealised_profit_follows_the_mark_price() -> None:
    book = PositionBook()
    book.on_position(position(-2.0, entry_price=10.1))
    found = book.find("BTC-USD")
    assert found is not None
    assert found.unrealized_pnl is None
    book.on_funding(FundingInfo("hyperliquid", "BTC", "BTC-USD", None, 0, 0, 0, mark_price=9.9))
    assert found.unrealized_pnl == Decimal("0.4")


@given(st.lists(st.tuples(st.integers(-5, 5).filter(bool), st.booleans()), max_size=12), st.data())
def test_delayed_and_repeated_fills_never_outrun_the_last_statement(
    trades: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """
    However fills arrive, and repeated: with the newest heard, the size is the true one.

    Statements come in their order, which is what a connection keeps.
    """
    messages: list[Fill | PositionUpdate] = []
    held, newest = 0, None
    for number, (lots, is_stated) in enumerate(trades):
        side = Side.BUY if lots > 0 else Side.SELL
        messages.append(
            fill(number, abs(lots) / 10, ts_ms=number + 1, side=side, position_before=held / 10, price=10.0)
        )
        held += lots
        newest = messages[-1]
        if is_stated:
            messages.append(position(held / 10, ts_ms=number + 1, entry_price=10.0))
    repeated: list[Fill | PositionUpdate] = [each for each in messages[: len(messages) // 2] if isinstance(each, Fill)]
    arrived = data.draw(st.permutations(messages + repeated))
    stated = iter([each for each in messages if isinstance(each, PositionUpdate)])
    arrived = [next(stated) if isinstance(each, PositionUpdate) else each for each in arrived]
    book = PositionBook()
    for message in arrived:
        if isinstance(message, Fill):
            book.on_fill(message)
        else:
            book.on_position(message)
    if newest is not None:
        assert size_of(book) == exact(held / 10)


@pytest.mark.parametrize("back_ms", [11_000, 60_000, 3_600_000])
def test_a_venue_whose_clock_went_back_does_not_hold_a_position(back_ms: int) -> None:
    """The statement after it is believed, though the newest fill has a later time; so is the fill after that."""
    book = PositionBook()
    book.on_position(position(5.0, ts_ms=5_000_000, entry_price=10.0))
    book.on_fill(fill(1, 1.0, ts_ms=5_000_001, position_before=5.0))
    book.on_position(position(9.0, ts_ms=5_000_002 - back_ms, entry_price=10.0))
    assert size_of(book) == Decimal(9)
    book.on_position(position(8.0, ts_ms=5_000_001 - back_ms, entry_price=10.0))
    assert size_of(book) == Decimal(8)
    book.on_fill(fill(2, 1.0, ts_ms=5_000_009 - back_ms, position_before=8.0))
    assert size_of(book) == Decimal(9)


def test_a_statement_dated_ahead_holds_until_the_next() -> None:
    book = PositionBook()
    book.on_position(position(5.0, ts_ms=600_000))
    book.on_position(position(6.0, ts_ms=2))
    assert size_of(book) == Decimal(6)


def test_statements_without_a_time_count_by_receipt_though_our_clock_went_back() -> None:
    book = PositionBook()
    hour = 3_600_000_000_000
    for size, recv in ((5.0, 2 * hour), (6.0, hour), (7.0, hour + 1)):
        book.on_position(msgspec.structs.replace(position(size, seq=recv), ts_event=None))
        assert size_of(book) == exact(size)
    # Only the fill that continues it is known to be newer than it.
    assert book.on_fill(fill(1, 1.0, ts_ms=1, position_before=5.0)) is None
    assert book.on_fill(fill(2, 1.0, ts_ms=1, position_before=7.0)) is not None
    assert size_of(book) == Decimal(8)


def test_the_price_of_a_rate_that_was_charged_is_no_mark_price() -> None:
    """It is that of its hour."""
    book = PositionBook()
    book.on_position(position(5.0, entry_price=10.0))
    info = FundingInfo("hyperliquid", "BTC", "BTC-USD", None, 0, 0, 0, mark_price=9.0)
    book.on_funding(info)
    book.on_funding(msgspec.structs.replace(info, kind=FundingKind.SETTLED, mark_price=7.0))
    found = book.find("BTC-USD")
    assert found is not None
    assert found.mark_price == 9.0


def balance(total: float, wallet: str, ts: int | None, recv: int) -> BalanceUpdate:
    return BalanceUpdate("hyperliquid", "", "", ts, recv, 0, 0, ACCOUNT, "USDC", total, total, wallet)


def test_the_balance_of_each_wallet_is_that_stated_last() -> None:
    book = BalanceBook()
    assert book.on_balance(balance(1.0, "perp", 5, 9))
    assert not book.on_balance(balance(1.0, "perp", 6, 10))
    assert book.on_balance(balance(3.0, "spot", None, 10))
    perp, spot = book.find("USDC", wallet="perp"), book.find("USDC", wallet="spot")
    assert perp is not None
    assert spot is not None
    assert (perp.total, spot.total, len(book.all)) == (1.0, 3.0, 2)
    assert book.find("HYPE") is None


@pytest.mark.parametrize(("ts", "recv"), [(None, 5), (4, 11), (4, 5)])
def test_a_clock_that_went_back_does_not_hold_a_balance(ts: int | None, recv: int) -> None:
    """Neither ours nor the venue's."""
    book = BalanceBook()
    book.on_balance(balance(1.0, "perp", None if ts is None else 10, 10))
    assert book.on_balance(balance(2.0, "perp", ts, recv))
    assert book.all[0].total == 2.0
