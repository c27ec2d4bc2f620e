"""
Profit, spreads, gaps and orders of sessions with accounts, against exact arithmetic from the raw frames, and against
the venue's own books of account; the command line, Polars and SQL answer the same.

The embedded venues lose their connections meanwhile, and a copy of the folder in the middle is what a crash leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

import analysis
from recordings.care.recovery import recover
from recordings.queries.gaps import find_gaps
from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from replay.embedded import EmbeddedVenue
from replay.market.engine.instruments import Kind
from replay.source import ReplayDataSource
from replay.synthetic.market import MarketOptions
from replay.synthetic.traders import AccountsOptions
from tests.analysis.exact_books import gaps_of, profits, quotes_of, valid_ns
from tests.deadlines import HANG_S
from tests.replay.account_session import QuickClock
from tests.toolkit.cli.terminal import run
from toolkit.accounts.user_tracker import UserStreamTracker
from toolkit.clock import NS_PER_S, SystemClock
from toolkit.messages import Message
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

pytestmark = pytest.mark.slow

#: All that the known accounts trade, so that every position has a price.
PAIRS = {"hyperliquid": ("BTC-USD", "SOL-USD", "kPEPE-USD"), "dydx_v4": ("BTC-USD", "SOL-USD", "PEPE-USD")}
NAMES = ("taker", "gambler")


class Booking(NamedTuple):
    """A fill in the books of the venue."""

    coin: str
    size: Decimal
    price: Decimal
    fee: Decimal
    time_ms: int


@dataclass(frozen=True)
class Session:
    """
    A session, and what a crash in the middle of it would have left.

    Attributes:
        books: The venue's own books at the end: the positions of each account, by coin.
        ledger: Every fill of each account, as the venue booked it: coin, signed size, price, fee, and its time, ms.
    """

    whole: Path
    crashed: Path
    books: dict[str, dict[str, float]]
    ledger: dict[str, list[Booking]]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def record(folder: Path, venue_name: str, seed: int) -> Session:
    market = MarketOptions(funding_every_ns=3600 * NS_PER_S)
    clock = QuickClock(4)
    async with EmbeddedVenue(
        venue=venue_name, seed=seed, clock=clock, market=market, accounts=AccountsOptions(liquidation_block=345)
    ) as venue:
        options = ProtocolOptions(pairs=PAIRS[venue_name], accounts=tuple(venue.accounts[name] for name in NAMES))
        wanted = VenueRequest(
            spec=find_venue(venue_name), options=options, ws_url=venue.ws_url, rest_url=venue.rest_url
        )
        recorder = Recorder(RecorderOptions(folder=folder / "whole", venues=[wanted], backoff_seed=1))
        blocks: Any = venue.venue
        user = UserStreamTracker()
        recorder.dispatcher.add_callback(user)
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            await until(lambda: len(user.orders.done) > 5)
            start = blocks.market.number
            for number in range(3):
                await until(lambda: blocks.market.number > start + 70 * (number + 1))  # noqa: B023
                if number == 1:
                    await asyncio.to_thread(shutil.copytree, folder / "whole", folder / "crashed")
                else:
                    venue.drop_connections()
            await until(lambda: blocks.market.number > start + 330)

            def has_stopped() -> bool:
                """Stop the venue at an instant when all that it has booked is known: a match may wait for its block."""
                known = {key: held for key, held in _books(blocks, venue.accounts).items() if held}
                if _positions(user) != known:
                    return False
                setattr(venue.venue, "advance", lambda now_ns: 0)  # noqa: B010
                return True

            await until(has_stopped)
            books = _books(blocks, venue.accounts)
            await asyncio.sleep(0.5)  # frames that are in the sockets' buffers
            recorder.stop()
        return Session(folder / "whole", folder / "crashed", books, _ledger(blocks, venue.accounts))


def _account(face: Any, name: str) -> Any:
    (account,) = (each for each in face.exchange.accounts.values() if each.name == name)
    return account


def _books(face: Any, accounts: dict[str, str]) -> dict[str, dict[str, float]]:
    books = {}
    for name in NAMES:
        held = list(_account(face, name).clearinghouses[""].open_positions())
        sizes = [(each.instrument.symbol, each.lots / each.instrument.lots_per_unit) for each in held]
        books[accounts[name]] = dict(_bare(symbol, size) for symbol, size in sizes)
    return books


def _ledger(face: Any, accounts: dict[str, str]) -> dict[str, list[Booking]]:
    ledger: dict[str, list[Booking]] = {}
    for name in NAMES:
        for fact in _account(face, name).fills:
            instrument, trade = fact.order.instrument, fact.trade
            if instrument.kind is Kind.SPOT:
                continue
            lots = trade.lots if fact.order.is_buy else -trade.lots
            coin, size = _bare(instrument.symbol, lots / instrument.lots_per_unit)
            scale = Decimal(str(size)) * instrument.lots_per_unit / lots
            booking = Booking(
                coin,
                Decimal(str(size)),
                Decimal(trade.px) / instrument.one / scale,
                Decimal(fact.fee).scaleb(-6),
                trade.time_ms,
            )
            ledger.setdefault(accounts[name], []).append(booking)
    return ledger


def _bare(name: str, size: float) -> tuple[str, float]:
    """A coin and its size by one name on both venues: kPEPE is a thousand PEPE."""
    coin = name.split("-", maxsplit=1)[0]
    return (coin[1:], size * 1000) if coin.startswith("k") else (coin, size)


def _positions(user: UserStreamTracker) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for each in user.positions.open:
        coin, size = _bare(each.symbol, float(each.size))
        found.setdefault(each.account, {})[coin] = size
    return found


@pytest.fixture(scope="module", params=["hyperliquid", "dydx_v4"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Session:
    made = asyncio.run(record(tmp_path_factory.mktemp(request.param), request.param, seed=11))
    with contextlib.suppress(FileNotFoundError):
        (made.crashed / "recording.lock").unlink()
    recover(made.crashed, SystemClock())
    return made


def messages_of(folder: Path) -> list[Message]:
    """From the raw frames, through the venue's protocol."""
    source = ReplayDataSource(folder, fidelity="raw")
    found: list[Message] = []
    source.set_message_callback(found.append)
    source.play()
    return found


def watched(folder: Path) -> dict[str, int]:
    first = analysis.scan(folder, "balances").group_by("account").agg(pl.col("capture_seq").min()).collect()
    return dict(first.iter_rows())


@pytest.mark.parametrize("which", ["whole", "crashed"])
def test_profit_is_what_exact_arithmetic_gives(session: Session, which: str) -> None:
    folder: Path = getattr(session, which)
    exact = profits(messages_of(folder), watched(folder))
    report = analysis.pnl_report(folder)
    assert set(report.select("account", "symbol").rows()) == set(exact)
    for row in report.iter_rows(named=True):
        mine = exact[row["account"], row["symbol"]]
        if row["symbol"].startswith("@"):
            continue  # a spot pair, whose fees are taken from what was bought
        assert row["position_end"] == pytest.approx(float(mine.size), abs=1e-9)
        assert row["fees"] == pytest.approx(float(mine.fees), abs=1e-8)
        assert row["funding"] == pytest.approx(float(mine.funding), abs=1e-8)
        assert row["net"] is None or row["net"] == pytest.approx(float(mine.net or 0), abs=1e-6)
    told = json.loads(run("analyze", "pnl", folder, "--json").stdout)
    for mine, theirs in zip(report["net"], (row["net"] for row in told), strict=True):
        assert theirs == (None if mine is None else pytest.approx(mine, rel=1e-14))


def test_profit_is_what_the_venues_own_books_say(session: Session) -> None:
    """What its ledger has since the account was watched, and its positions at the first and the last price it streamed."""
    report = analysis.pnl_report(session.whole)
    series = analysis.pnl_series(session.whole).filter(~pl.col("symbol").str.starts_with("@"))
    fills = analysis.scan(session.whole, "fills").filter("is_history").collect()
    compared = 0
    for (account, symbol), course in series.partition_by("account", "symbol", as_dict=True).items():
        (row,) = report.filter(pl.col("account") == account, pl.col("symbol") == symbol).iter_rows(named=True)
        coin, scale = _bare(str(symbol), 1.0)
        end = Decimal(str(session.books[str(account)].get(coin, 0.0)))
        assert row["position_end"] * scale == float(end)
        before = fills.filter(pl.col("account") == account)["ts_event"].cast(pl.Int64).max() or 0
        new = [each for each in session.ledger[str(account)] if each.coin == coin and each.time_ms > before // 10**6]  # type: ignore[operator]
        marks = [Decimal(repr(mark)) / Decimal(scale) for mark in course["mark_price"].drop_nulls()]
        start = end - sum(each.size for each in new)
        value = end * marks[-1] - start * marks[0] - sum(each.size * each.price + each.fee for each in new)
        assert row["fill_count"] == len(new)
        assert row["net"] == pytest.approx(float(value), abs=1e-6), (account, symbol)
        compared += len(new)
    assert compared > 5


@pytest.mark.parametrize("which", ["whole", "crashed"])
def test_spreads_of_any_window_are_what_exact_arithmetic_gives(session: Session, which: str) -> None:
    folder: Path = getattr(session, which)
    messages = messages_of(folder)
    quotes = quotes_of(messages)
    manifest = Recording.open(folder).manifest
    begin, end = manifest.segments[0].ts_recv_first, max(each.ts_recv_last for each in manifest.segments)
    draw = random.Random(which)
    windows: list[tuple[int | None, int | None]] = [(None, None)]
    for _ in range(6):
        first, last = sorted(draw.randrange(begin, end) for _ in range(2))
        windows.append((first, last + 1))
    for start, stop in windows:
        report = analysis.spread_window(folder, start_ns=start, end_ns=stop).report()
        for row in report.iter_rows(named=True):
            covered, valid, mean = valid_ns(quotes[row["venue"], row["symbol"]], start, end if stop is None else stop)
            assert (row["covered_s"], row["valid_s"]) == (covered / 1e9, valid / 1e9)
            assert row["spread_mean"] == (None if mean is None else pytest.approx(float(mean), rel=1e-12))
    told = json.loads(run("analyze", "spreads", folder, "--json").stdout)
    report = analysis.spread_window(folder).report()
    for name in ("covered_s", "valid_s", "stale_share", "spread_mean", "top_changes"):
        assert [row[name] for row in told] == pytest.approx(report[name].to_list(), rel=1e-14)


@pytest.mark.parametrize("which", ["whole", "crashed"])
def test_gaps_are_those_of_the_messages_in_every_answer(session: Session, which: str) -> None:
    folder: Path = getattr(session, which)
    frame = find_gaps(folder)
    columns = ["venue", "symbol", "stream", "kind", "ts_start", "ts_end"]
    rows = frame.with_columns(pl.col("ts_start", "ts_end").cast(pl.Int64)).select(columns).rows()
    assert sorted(rows, key=str) == sorted(gaps_of(messages_of(folder)), key=str)
    assert any(row[3] == ("lost" if which == "crashed" else "gap") for row in rows)
    told = json.loads(run("gaps", folder, "--json").stdout)
    assert [(row["venue"], row["stream"], row["seconds"]) for row in told] == frame.select(
        "venue", "stream", "seconds"
    ).rows()
    with analysis.connect(folder) as connection:
        query = "SELECT venue, stream, seconds FROM gaps ORDER BY ts_start, capture_seq"
        asked = connection.execute(query).fetchall()
    assert sorted(asked, key=str) == sorted(frame.select("venue", "stream", "seconds").rows(), key=str)
    covered = analysis.coverage(folder)
    with_gap = set(frame.filter(pl.col("symbol") != "")["symbol"])
    assert with_gap <= set(covered.filter(pl.col("gap_count") > 0)["symbol"]) | {""}


@pytest.mark.parametrize("which", ["whole", "crashed"])
def test_orders_are_those_of_the_tracker(session: Session, which: str) -> None:
    folder: Path = getattr(session, which)
    tracker = UserStreamTracker()
    for message in messages_of(folder):
        tracker(message)
    report = analysis.order_report(folder, with_history=True)
    rows = {(row["order_id"], row["generation"]): row for row in report.iter_rows(named=True)}
    orders = {(order.order_id, order.generation): order for order in tracker.orders}
    assert set(rows) == set(orders)
    for key, order in orders.items():
        if order.is_known:
            assert rows[key]["state"] == order.state, rows[key]
        assert rows[key]["filled"] == float(order.filled)
        assert rows[key]["fill_count"] == order.fill_count
    told = json.loads(run("analyze", "orders", folder, "--history", "--json").stdout)
    assert [row["state"] for row in told] == report["state"].to_list()
