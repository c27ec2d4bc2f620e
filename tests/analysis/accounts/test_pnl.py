"""Profit is cash flows and the position at the mark, whatever a venue says of it; and null where it cannot be known."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis.accounts.average_cost import realized_by_average_cost
from tests.analysis.tapes import make_recording

S = 1_000_000_000
B = 1_700_000_000 * S


def at(seq: int, **more: Any) -> dict[str, Any]:
    return {"capture_seq": seq, "ts_recv": B + seq * S, "ts_event": B + seq * S} | more


def fill(seq: int, side: str, size: float, price: float, **more: Any) -> dict[str, Any]:
    return at(seq, side=side, size=size, price=price, fill_id=f"{seq}/{more.get('sub_seq', 0)}") | more


def position(
    seq: int, size: float, entry: float | None = None, mark: float | None = None, **more: Any
) -> dict[str, Any]:
    """As a venue states it that gives the value of a position, or does not."""
    profit = None if entry is None or mark is None else size * (mark - entry)
    return at(seq, size=size, entry_price=entry, unrealized_pnl=profit, ts_event=None, sub_seq=5) | more


def mark(seq: int, price: float, **more: Any) -> dict[str, Any]:
    return at(seq, mark_price=price, sub_seq=9) | more


def perpetual(**more: Any) -> dict[str, Any]:
    return at(0, base="BTC", quote="USD", settle="USD", kind="perpetual") | more


WATCHED = at(0, total=1000.0, available=1000.0)


def row(folder: Path, **tables: Any) -> dict[str, Any]:
    tables.setdefault("balances", [WATCHED])
    (only,) = analysis.pnl_report(make_recording(folder, tables)).iter_rows(named=True)
    return only


# -- what a venue does not say is not zero -------------------------------------------------------------------------------


def test_a_venue_that_never_says_what_was_realized(tmp_path: Path) -> None:
    """Bought 2 at 100 and sold 1 at 90: 10 are lost, and the other one is worth 80 by now."""
    fills = [fill(1, "buy", 2.0, 100.0, fee=0.5), fill(2, "sell", 1.0, 90.0, fee=0.25)]
    found = row(tmp_path / "tape", fills=fills, funding=[mark(3, 80.0)], funding_payments=[at(4, amount=-0.125)])
    assert (found["realized"], found["unrealized_start"], found["unrealized_end"]) == (-10.0, 0.0, -20.0)
    assert (found["fees"], found["funding"], found["net"]) == (0.75, -0.125, -30.875)
    assert (found["position_end"], found["venue_difference"]) == (1.0, None)


def test_a_position_from_before_counts_from_its_mark(tmp_path: Path) -> None:
    """One that was 50 ahead when it was first seen, and closed 70 ahead of its entry price, has gained 20."""
    found = row(
        tmp_path / "tape",
        positions=[position(0, 10.0, 100.0, 105.0), position(3, 0.0)],
        fills=[fill(2, "sell", 10.0, 107.0)],
    )
    assert (found["unrealized_start"], found["realized"], found["unrealized_end"]) == (50.0, 70.0, 0.0)
    assert (found["net"], found["position_end"]) == (20.0, 0.0)


def test_the_position_at_the_end_has_every_fill(tmp_path: Path) -> None:
    """Also those after the last statement, valued at the newest price, also one after all of them."""
    found = row(
        tmp_path / "tape",
        fills=[fill(1, "buy", 2.0, 100.0), fill(4, "buy", 1.0, 103.0)],
        positions=[position(2, 2.0, 100.0, 101.0)],
        funding=[mark(3, 102.0), mark(9, 110.0)],
    )
    assert (found["position_end"], found["net"]) == (3.0, 27.0)


def test_the_newest_price_may_be_that_of_a_statement(tmp_path: Path) -> None:
    found = row(
        tmp_path / "tape",
        fills=[fill(1, "buy", 2.0, 100.0)],
        positions=[position(5, 2.0, 100.0, 120.0)],
        funding=[mark(3, 102.0)],
    )
    assert found["net"] == 40.0


def test_without_a_price_an_open_position_has_no_profit(tmp_path: Path) -> None:
    found = row(tmp_path / "tape", fills=[fill(1, "buy", 2.0, 100.0), fill(2, "sell", 1.0, 90.0)])
    assert (found["net"], found["unrealized_end"], found["realized"], found["position_end"]) == (None, None, -10.0, 1.0)


def test_a_position_that_nobody_stated_has_no_profit(tmp_path: Path) -> None:
    """An account of which no statement was recorded may have held anything before."""
    found = row(
        tmp_path / "tape",
        fills=[fill(1, "buy", 2.0, 100.0)],
        funding=[mark(2, 101.0)],
        balances=[],
        instruments=[perpetual()],
    )
    assert (found["net"], found["position_end"]) == (None, None)


# -- what the venue says is compared --------------------------------------------------------------------------------------


def test_what_a_venue_says_of_its_fills_is_taken_and_its_statement_compared(tmp_path: Path) -> None:
    fills = [
        fill(1, "buy", 2.0, 100.0, realized_pnl=0.0, position_before=0.0),
        fill(2, "sell", 1.0, 90.0, realized_pnl=-10.5, position_before=2.0),
    ]
    found = row(tmp_path / "tape", fills=fills, positions=[position(3, 1.0, 100.0, 95.0)])
    assert (found["realized"], found["net"]) == (-10.5, -15.0)
    # The venue states -5 for what is left; of a profit of -15 with -10.5 realised it is -4.5.
    assert (found["unrealized_end"], found["venue_difference"]) == (-4.5, -0.5)


def test_a_fill_that_is_missing_makes_profit_unknown_from_there(tmp_path: Path) -> None:
    tables = {
        "fills": [fill(1, "buy", 2.0, 100.0), fill(5, "sell", 1.0, 90.0)],
        "positions": [position(2, 2.0, 100.0, 101.0), position(4, 5.0, 100.0, 101.0), position(6, 4.0, 100.0, 99.0)],
        "funding": [mark(0, 100.0), mark(7, 99.0)],
        "balances": [WATCHED],
    }
    course = analysis.pnl_series(make_recording(tmp_path / "tape", tables))
    # In the order of capture: a fill, a statement that agrees, and from the one on that does not nothing is known.
    assert course["net"].to_list()[:2] == [0.0, 2.0]
    assert course["net"].drop_nulls().len() == 2
    assert course["realized"].drop_nulls().len() == 2


def test_a_fill_that_comes_late_explains_what_went_before(tmp_path: Path) -> None:
    """It was missed, and the venue's statement of the position had it already."""
    found = row(
        tmp_path / "tape",
        fills=[fill(1, "buy", 2.0, 100.0), fill(6, "buy", 3.0, 100.0, ts_event=B + 3 * S)],
        positions=[position(2, 2.0, 100.0, 101.0), position(4, 5.0, 100.0, 101.0, ts_event=B + 4 * S)],
        funding=[mark(7, 101.0)],
    )
    assert (found["net"], found["position_end"]) == (5.0, 5.0)


def test_a_statement_without_a_time_may_be_ahead_of_its_fills(tmp_path: Path) -> None:
    """The venue states the position when the connection is back; the fills that made it are asked for, and come after."""
    found = row(
        tmp_path / "tape",
        positions=[position(0, -3.0, 100.0, 90.0), position(4, 0.0)],
        fills=[fill(5, "buy", 2.0, 110.0), fill(6, "buy", 1.0, 110.0)],
    )
    assert (found["net"], found["position_end"]) == (-60.0, 0.0)


# -- fees ------------------------------------------------------------------------------------------------------------------


def test_a_fee_in_another_asset_is_worth_what_that_asset_is(tmp_path: Path) -> None:
    fills = [
        fill(2, "buy", 1.0, 100.0, fee=0.5, fee_asset="BNB"),
        fill(4, "sell", 1.0, 100.0, fee=0.5, fee_asset="BNB"),
    ]
    bnb = {"symbol": "BNB", "trading_pair": "BNB-USD"}
    tops = [at(1, bid_price=9.0, ask_price=11.0, **bnb), at(3, bid_price=19.0, ask_price=21.0, **bnb)]
    found = row(tmp_path / "tape", fills=fills, instruments=[perpetual()], top=tops, funding=[mark(5, 1.0)])
    assert (found["fees"], found["net"]) == (15.0, -15.0)


def test_a_fee_in_an_asset_without_a_price_is_unknown(tmp_path: Path) -> None:
    fills = [fill(2, "buy", 1.0, 100.0, fee=0.5, fee_asset="BNB"), fill(4, "sell", 1.0, 100.0)]
    found = row(tmp_path / "tape", fills=fills, instruments=[perpetual()])
    assert (found["fees"], found["net"], found["realized"]) == (None, None, 0.0)


@pytest.mark.parametrize("instruments", [[], [at(0, kind="spot", base="HYPE", quote="USDC", settle="")]])
def test_a_spot_holding_is_worth_its_mid_price(tmp_path: Path, instruments: list[dict[str, Any]]) -> None:
    """10 bought at 2, of which 0.1 went as a fee; 4 sold at 3: 8 out and 5.9 worth 2.5 each."""
    name = {"symbol": "@107", "trading_pair": "HYPE-USDC"}
    fills = [
        fill(1, "buy", 10.0, 2.0, fee=0.1, fee_asset="HYPE", **name),
        fill(2, "sell", 4.0, 3.0, fee=0.5, fee_asset="USDC", **name),
    ]
    found = row(
        tmp_path / "tape",
        fills=fills,
        instruments=[{**each, **name} for each in instruments],
        top=[at(3, bid_price=2.4, ask_price=2.6, **name)],
    )
    assert (found["position_end"], found["fees"]) == (5.9, 0.7)
    assert found["net"] == pytest.approx(-20 + 12 - 0.5 + 5.9 * 2.5)


HYPE = {"symbol": "@107", "trading_pair": "HYPE-USDC"}


def held(seq: int, total: float, asset: str = "HYPE", **more: Any) -> dict[str, Any]:
    """A statement of what a spot wallet has of an asset."""
    return at(seq, asset=asset, total=total, available=total, wallet="spot") | more


@pytest.mark.parametrize(
    ("balances", "expected"),
    [
        ([WATCHED, held(0, 50.0, "USDC", sub_seq=1), held(0, 12.5, sub_seq=2), held(3, 8.5)], 12.5),
        ([WATCHED, held(0, 50.0, "USDC", sub_seq=1), held(3, 8.5)], 0.0),  # a wallet lists what it has
        ([WATCHED, held(2, 12.5)], None),  # after the first fill
        ([WATCHED], None),
    ],
)
def test_what_was_held_at_the_start_is_said(
    tmp_path: Path, balances: list[dict[str, Any]], expected: float | None
) -> None:
    """It is in neither position nor profit."""
    fills = [fill(1, "sell", 4.0, 3.0, fee=0.0, **HYPE)]
    top = [at(3, bid_price=2.4, ask_price=2.6, **HYPE)]
    found = row(tmp_path / "tape", fills=fills, top=top, balances=balances)
    assert (found["held_start"], found["position_end"]) == (expected, -4.0)
    assert found["net"] == pytest.approx(12 - 4 * 2.5)


def test_what_another_pair_had_sold_before_was_not_stated(tmp_path: Path) -> None:
    """A holding belongs to the account, whatever it is traded with, and whichever pair is asked for."""
    other = HYPE | {"symbol": "@232", "trading_pair": "HYPE-USDT"}
    fills = [fill(1, "sell", 1.0, 3.0, fee=0.0, **other), fill(4, "sell", 4.0, 3.0, fee=0.0, **HYPE)]
    tables = {"fills": fills, "balances": [WATCHED, held(2, 9.0)]}
    tape = make_recording(tmp_path / "tape", tables)
    assert analysis.pnl_report(tape)["held_start"].to_list() == [None, None]
    assert analysis.pnl_report(tape, pairs="HYPE-USDC")["held_start"].to_list() == [None]


def test_a_perpetual_holds_nothing(tmp_path: Path) -> None:
    """What it had at the start is its position."""
    positions = [position(0, 2.0, 100.0, 110.0), position(3, 2.0, 100.0, 120.0)]
    assert row(tmp_path / "tape", positions=positions, balances=[WATCHED, held(0, 2.0, "BTC")])["held_start"] is None


# -- the rule of the average price, and any trading at all ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "entry", "fills", "expected"),
    [
        (0.0, None, [(2.0, 10.0), (-1.0, 12.0), (-1.0, 9.0)], [0.0, 2.0, -1.0]),
        (0.0, None, [(1.0, 10.0), (1.0, 20.0), (-2.0, 16.0)], [0.0, 0.0, 2.0]),
        (3.0, 10.0, [(-5.0, 12.0), (2.0, 11.0)], [6.0, 2.0]),  # turns, and closes what it turned to
        (-2.0, 10.0, [(1.0, 9.0)], [1.0]),
        (5.0, None, [(-1.0, 9.0), (-4.0, 9.0), (1.0, 3.0), (-1.0, 4.0)], [None, None, 0.0, 1.0]),
    ],
)
def test_what_is_realized_by_the_average_price(
    size: float, entry: float | None, fills: list[tuple[float, float]], expected: list[float | None]
) -> None:
    assert realized_by_average_cost(size, entry, fills) == expected


@st.composite
def trading(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Decimal]]:
    """Any sequence of fills, payments, statements and prices of one perpetual, and what came of it, exactly."""
    cents = st.integers(1, 400).map(lambda count: Decimal(count) / 4)
    size = draw(st.integers(-8, 8).map(lambda count: Decimal(count) / 8))
    price = draw(cents)
    value_start, cash, fees, funding = size * price, Decimal(0), Decimal(0), Decimal(0)
    tables: dict[str, list[dict[str, Any]]] = {"balances": [WATCHED], "fills": [], "positions": [], "funding": []}
    tables["funding_payments"] = []
    tables["funding"].append(mark(0, float(price)))
    if size:
        tables["positions"].append(position(0, float(size), float(draw(cents)), float(price)))
        # What it states is a profit by which its mark price is the one that there is.
    states = draw(st.booleans())
    for seq in range(1, draw(st.integers(2, 12))):
        kind = draw(st.sampled_from(["fill", "fill", "fill", "payment", "mark", "statement"]))
        if kind == "fill":
            change = draw(st.integers(-6, 6).filter(bool).map(lambda count: Decimal(count) / 8))
            at_price, fee = draw(cents), draw(st.integers(-3, 9)) / Decimal(64)
            side = "buy" if change > 0 else "sell"
            before = {"position_before": float(size)} if states else {}
            tables["fills"].append(fill(seq, side, float(abs(change)), float(at_price), fee=float(fee), **before))
            size, cash, fees = size + change, cash - change * at_price, fees + fee
        elif kind == "payment":
            amount = draw(st.integers(-9, 9)) / Decimal(32)
            tables["funding_payments"].append(at(seq, amount=float(amount)))
            funding += amount
        elif kind == "mark":
            price = draw(cents)
            tables["funding"].append(mark(seq, float(price)))
        else:
            tables["positions"].append(position(seq, float(size), float(price) if size else None, float(price)))
    net = cash + size * price - value_start - fees + funding
    return tables, {"net": net, "position_end": size, "fees": fees, "funding": funding}


@given(trading())
def test_any_trading_gives_what_exact_arithmetic_gives(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[dict[str, Any], dict[str, Decimal]]
) -> None:
    tables, expected = drawn
    if not any(tables[name] for name in ("fills", "positions", "funding_payments")):
        return
    report = analysis.pnl_report(make_recording(tmp_path_factory.mktemp("pnl") / "tape", tables))
    (found,) = report.iter_rows(named=True)
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-9), name
    parts = found["realized"] - found["fees"] + found["funding"] + found["unrealized_end"] - found["unrealized_start"]
    assert found["net"] == pytest.approx(parts, abs=1e-9)


# -- the value of the account ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wallet", ["perp", "perp:xyz"])
def test_the_value_of_an_account_is_that_of_all_its_margin_wallets(tmp_path: Path, wallet: str) -> None:
    """What goes from one to the other is no gain, wherever it is traded with; one of spot does not count."""
    tables = {
        "balances": [
            WATCHED,
            at(0, total=7.0, wallet="spot", sub_seq=1),
            at(1, total=900.0),
            at(1, total=100.0, wallet="perp:xyz", sub_seq=1),
            at(5, total={"perp": 915.0, "perp:xyz": 115.0}[wallet], wallet=wallet),
            at(6, total=8.0, wallet="spot"),
        ],
        "fills": [fill(2, "buy", 1.0, 50.0, position_before=0.0)],
        "funding": [mark(3, 60.0)],
        "account_events": [at(4, amount=5.0)],
    }
    (found,) = analysis.pnl_check(make_recording(tmp_path / "tape", tables)).iter_rows(named=True)
    assert (found["value_first"], found["value_last"], found["moved"]) == (1000.0, 1015.0, 5.0)
    assert (found["gained"], found["net"], found["difference"]) == (10.0, 10.0, 0.0)


# -- orders ------------------------------------------------------------------------------------------------------------------


def order(seq: int, state: str, **more: Any) -> dict[str, Any]:
    return at(seq, state=state, status=state, ts_created=B, **{"size": 2.0, **more})


def states(folder: Path, **tables: Any) -> list[tuple[Any, ...]]:
    report = analysis.order_report(make_recording(folder, tables))
    return report.select("order_id", "generation", "state", "filled", "realized_pnl").rows()


def test_what_was_realized_is_unknown_where_the_venue_does_not_say(tmp_path: Path) -> None:
    fills = [
        fill(2, "buy", 1.0, 100.0, order_id="said", realized_pnl=3.0),
        fill(3, "buy", 1.0, 100.0, order_id="half said", realized_pnl=3.0),
        fill(4, "buy", 1.0, 100.0, order_id="half said"),
    ]
    orders = [order(seq, "open", order_id=name) for seq, name in enumerate(("none", "said", "half said"))]
    assert [row[0:1] + row[3:] for row in states(tmp_path / "tape", orders=orders, fills=fills)] == [
        ("none", 0.0, 0.0),
        ("said", 1.0, 3.0),
        ("half said", 2.0, None),
    ]


def test_an_id_that_is_given_again_is_another_order(tmp_path: Path) -> None:
    orders = [
        order(1, "open"),
        order(2, "cancelled"),
        order(3, "open", generation=1),
        order(5, "filled", generation=1),
    ]
    found = states(tmp_path / "tape", orders=orders, fills=[fill(4, "buy", 2.0, 9.0, generation=1, realized_pnl=0.0)])
    assert found == [("1", 0, "cancelled", 0.0, 0.0), ("1", 1, "filled", 2.0, 0.0)]


def test_a_fill_outruns_an_end_that_was_none(tmp_path: Path) -> None:
    """The end by the height of the chain came first, on another socket."""
    orders = [order(1, "open"), order(2, "expired"), order(3, "filled")]
    fills = [fill(3, "buy", 2.0, 9.0, sub_seq=1, realized_pnl=0.0)]
    assert states(tmp_path / "tape", orders=orders, fills=fills) == [("1", 0, "filled", 2.0, 0.0)]


def test_a_cancel_that_is_under_way_is_told(tmp_path: Path) -> None:
    """Whatever the venue repeats of the order meanwhile; until it is filled whole, or ended."""
    orders = [order(1, "open"), order(2, "pending_cancel"), order(3, "open"), *(order(4, "open", order_id="2"),)]
    fills = [fill(5, "buy", 1.0, 9.0, realized_pnl=0.0)]
    found = states(tmp_path / "tape", orders=orders, fills=fills)
    assert found == [("1", 0, "pending_cancel", 1.0, 0.0), ("2", 0, "open", 0.0, 0.0)]


def test_a_profit_of_nothing_has_no_sign(tmp_path: Path) -> None:
    """Nor has funding of less than can be told, which was paid."""
    fills = [
        {
            "ts_recv": B,
            "ts_event": B,
            "capture_seq": 1,
            "side": "sell",
            "price": 10.0,
            "size": 1.0,
            "position_before": 0.0,
        },
        {"ts_recv": B + 1, "ts_event": B + 1, "capture_seq": 2, "side": "buy", "price": 10.0, "size": 1.0}
        | {"position_before": -1.0, "fill_id": "2"},
    ]
    payments = [{"ts_recv": B + 2, "ts_event": B + 2, "capture_seq": 3, "amount": -1e-15}]
    balances = [{"ts_recv": B, "capture_seq": 0, "total": 5.0}]
    tape = make_recording(tmp_path / "tape", {"fills": fills, "funding_payments": payments, "balances": balances})
    for frame in (analysis.pnl_report(tape), analysis.pnl_series(tape)):
        assert "-0.0" not in frame.write_csv()
        assert frame["net"].to_list()[-1] == 0.0
