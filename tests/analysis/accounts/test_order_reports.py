"""Orders and profit of a real session of the embedded venue: against the trackers, and against the account's own value."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import analysis
from recordings.recording import Recording
from replay.source import ReplayDataSource
from tests.replay.account_session import Session, record_session
from toolkit.accounts.user_tracker import UserStreamTracker
from toolkit.cli.commands.analyze import analyze
from toolkit.errors import ConfigError, SymbolError

NAMES = ("taker", "gambler")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """One session for all tests here; nobody changes it."""
    return asyncio.run(record_session(tmp_path_factory.mktemp("tapes") / "session", seed=5, names=NAMES))


def test_orders_are_what_the_tracker_made_of_the_same_messages(session: Session) -> None:
    tracker = UserStreamTracker()
    source = ReplayDataSource(session.folder)
    source.set_message_callback(tracker)
    source.play()
    report = analysis.order_report(session.folder, with_history=True)
    rows = {row["order_id"]: row for row in report.iter_rows(named=True)}
    orders = {order.order_id: order for order in tracker.orders}
    assert set(rows) == set(orders)
    for order_id, order in orders.items():
        row = rows[order_id]
        if order.is_known:
            assert row["state"] == order.state, row
        assert Decimal(repr(row["filled"])) == order.filled, row
        assert row["fill_count"] == order.fill_count
        assert row["size"] == order.size
        if len(order.fees) == 1:
            assert Decimal(repr(row["fee"])) == order.fees[row["fee_asset"]]
        if order.average_price is not None:
            assert row["average_price"] == pytest.approx(float(order.average_price), rel=1e-14)


def test_history_is_left_out_unless_asked_for(session: Session) -> None:
    all_of_them = analysis.order_report(session.folder, with_history=True)
    new = analysis.order_report(session.folder)
    assert 10 < new.height < all_of_them.height
    ended = new.filter(pl.col("is_history") & (pl.col("fill_count") == 0))
    assert set(ended["state"]) <= {"open"}


def test_net_profit_is_what_the_account_gained(session: Session) -> None:
    """The venue's own value of the margin account at the end, less that at the start and what was paid in."""
    report = analysis.pnl_report(session.folder)
    balances = (
        analysis.scan(session.folder, "balances").filter(pl.col("wallet") == "perp").sort("capture_seq").collect()
    )
    events = analysis.scan(session.folder, "account_events").filter(~pl.col("is_history")).collect()
    for name in NAMES:
        account = session.accounts[name]
        value = balances.filter(pl.col("account") == account)["total"]
        moved = events.filter(pl.col("account") == account, pl.col("kind") == "deposit")["amount"].sum()
        perps = report.filter(pl.col("account") == account, pl.col("symbol") != "@107")
        assert perps["net"].sum() == pytest.approx(value[-1] - value[0] - moved, abs=1e-5), name
        assert perps["fill_count"].sum() > 0


def test_the_course_ends_with_the_sum(session: Session) -> None:
    series = analysis.pnl_series(session.folder)
    last = series.group_by("account", "symbol", maintain_order=True).agg(pl.col("net").last()).sort("account", "symbol")
    report = analysis.pnl_report(session.folder)
    assert last["net"].to_list() == report["net"].to_list()
    assert dict(series.schema) == dict(analysis.PNL_SERIES_SCHEMA)
    assert dict(report.schema) == dict(analysis.PNL_SCHEMA)


def test_slippage_is_positive_where_it_was_worse(session: Session) -> None:
    """
    A taker pays; and the decision is compared with the mid of its time.

    Within one block the market may move before the order comes, so a single fill may be better than the mid before.
    """
    report = analysis.order_report(session.folder).drop_nulls("slippage_fill_bps")
    crossing = report.filter(pl.col("time_in_force") == "ioc")
    assert crossing.height
    assert (crossing["slippage_fill_bps"] > 0).sum() > crossing.height / 2
    for row in crossing.drop_nulls("mid_decision").iter_rows(named=True):
        sign = 1 if row["side"] == "buy" else -1
        worse = sign * (row["average_price"] - row["mid_decision"])
        assert row["slippage_decision_bps"] == pytest.approx(worse / row["mid_decision"] * 1e4)


@pytest.mark.parametrize("ending", ["png", "html"])
def test_the_same_recording_gives_the_same_picture(session: Session, tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    for path in (first, second):
        analysis.plot_pnl(analysis.pnl_series(session.folder), path, title="t")
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_bytes()) > 2_000


def test_what_has_no_account_says_so(tmp_path: Path, session: Session) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    manifest = Recording.open(session.folder).manifest
    from recordings.format.manifest import write_manifest

    manifest.segments = []
    write_manifest(empty, manifest)
    with pytest.raises(ConfigError, match=r"holds no orders: record with an account's address"):
        analysis.order_report(empty)
    with pytest.raises(ConfigError, match=r"holds no fills and no positions"):
        analysis.pnl_report(empty)
    with pytest.raises(SymbolError, match="no order of DOGE-USD; there are orders of"):
        analysis.order_report(session.folder, pairs=["DOGE-USD"])
    with pytest.raises(SymbolError, match="nothing was gained or lost in DOGE-USD"):
        analysis.pnl_report(session.folder, pairs=["DOGE-USD"])


def test_the_commands_print_tables_and_files(session: Session, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(analyze, [*words], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    assert "bps to fill" in run("orders", str(session.folder))
    assert "unrealized change" in run("pnl", str(session.folder), "--plot", str(tmp_path / "pnl.png"))
    assert (tmp_path / "pnl.png").stat().st_size > 1000
    run("pnl", str(session.folder), "--series", "--out", str(tmp_path / "series.parquet"))
    assert pl.read_parquet(tmp_path / "series.parquet").equals(analysis.pnl_series(session.folder))
    assert CliRunner().invoke(analyze, ["pnl", str(session.folder), "--plot", "a.gif"]).exit_code == 2
