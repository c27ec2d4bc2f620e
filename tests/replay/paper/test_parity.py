"""A paper session, and the replay of its recording: the same decisions, whatever happens to the connections meanwhile."""

from __future__ import annotations

import ast
import asyncio
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.care.verifying import verify
from recordings.recording import Recording
from replay.clearing.house_settings import Transfer
from replay.embedded import EmbeddedVenue
from replay.ledger.margin_rules import MarginMode
from replay.market.layout import Reason
from replay.paper import trader
from replay.paper.comparing import Comparison, compare
from replay.paper.log_file import PaperLog, paper_logs
from replay.source import ReplayDataSource
from replay.strategy.context import Context
from replay.strategy.failures import StrategyError
from replay.strategy.limits import RiskLimits
from replay.strategy.plan import RunPlan, RunSettings
from replay.strategy.session import Phase
from replay.strategy.strategy import Strategy, Wakes
from tests.replay.paper import sessions
from tests.replay.paper.sessions import CHURNER, PAIRS, Paper, on_paper
from tests.toolkit.cli.terminal import run as tickdeck
from toolkit.clock import SystemClock
from toolkit.frames import CONTROL, REST_OUT, WS_OUT
from toolkit.messages import Trade


def compared(folder: Path, plan: RunPlan, **options: Any) -> Comparison:
    """The last paper session of a recording, and its replay."""
    return compare(PaperLog(paper_logs(folder)[-1]), plan, Recording.open(folder), **options)


async def record(folder: Path, *names: str) -> Paper:
    """A session with many decisions, and both kinds of disconnects."""
    async with on_paper(folder, *names) as paper:
        await paper.until_rows(40)
        for venue in paper.venues:
            venue.drop_connections()
        await paper.until_rows(40)
        paper.venues[0].close_connections(1012, "deploy")
        await paper.until_rows(40)
    return paper


def test_the_names_of_pairs_are_those_of_all_embedded_venues() -> None:
    from replay.serving.registry import synthetic_venues

    assert set(synthetic_venues()) == set(PAIRS)


@pytest.mark.parametrize(
    "names", [(name,) for name in ("hyperliquid", "dydx_v4", "binance-usdm")] + [("hyperliquid", "dydx_v4")]
)
def test_paper_equals_the_backtest_of_its_recording(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Raw and normalized, in any batches, with a second venue in the same recording; and the recording is sound."""
    folder = tmp_path / "tape"
    paper = asyncio.run(record(folder, *names))
    assert paper.session.failure is None
    for options in ({}, {"fidelity": "raw"}, {"batch_rows": 7}):
        comparison = compared(folder, paper.plan, **options)
        assert comparison.difference is None
        assert comparison.is_equal
        assert comparison.rows == paper.session.log.count > 120
        assert comparison.replay_digest == paper.session.log.hexdigest()
    kinds = {row.kind for row in PaperLog(paper_logs(folder)[0]).rows()}
    assert {"gap", "response", "order", "timer", "stop"} <= kinds
    assert verify(folder).is_sound


@pytest.fixture(scope="module")
def taped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Paper]:
    """A short session on one venue."""
    folder = tmp_path_factory.mktemp("paper") / "tape"

    async def main() -> Paper:
        async with on_paper(folder, "hyperliquid") as paper:
            await paper.until(
                lambda: paper.trader.session is not None and bool(paper.session._recorder.ledger.executions > 2)
            )
            await paper.until_rows(30)
        return paper

    return folder, asyncio.run(main())


@pytest.mark.parametrize("speed", [None, "100x"])
def test_paper_equals_its_replay_at_every_speed(taped: tuple[Path, Paper], speed: str | None) -> None:
    """A replay that keeps pace hands over the same messages, and the session asks no clock."""
    folder, paper = taped

    async def main() -> str:
        source = ReplayDataSource(folder, speed=speed)
        session = paper.plan.open(0)
        source.set_message_callback(session.take)
        async with source:
            await source.wait()
        session.finish()
        return session.log.hexdigest()

    assert asyncio.run(main()) == paper.session.log.hexdigest()


@pytest.mark.parametrize(
    ("changes", "name", "effect"),
    [
        ({"rules": {"amend_place": "kept", "queue_front": "power"}}, "rules.hyperliquid.queue_front", ""),
        ({"latency": "entry=21ms,response=15ms"}, "latency", "the venue answered otherwise: venue_ns"),
        ({"seed": 4}, "seed", ""),
        ({"fees": {"taker": Decimal("0.001")}}, "fees.hyperliquid", ""),
        (
            {"limits": RiskLimits(order_size_max=Decimal("0.00001"))},
            "limits.order_size_max",
            "",
        ),
        ({"parameters": {"lots": "4"}}, "parameters.lots", "the strategy decided otherwise"),
    ],
)
def test_a_rule_that_differs_is_named_with_its_first_effect(
    taped: tuple[Path, Paper], changes: dict[str, Any], name: str, effect: str
) -> None:
    folder, paper = taped
    plan = RunPlan(paper.plan.loaded, paper.plan.pairs.keys, replace(paper.plan.settings, **changes))
    comparison = compared(folder, plan)
    assert not comparison.is_equal
    assert name in {each for each, _, _ in comparison.settings}
    if effect:
        assert comparison.difference is not None
        assert comparison.difference.what.startswith(effect)
        assert comparison.difference.before is None or comparison.difference.number > 0


def test_the_command_says_equal_or_what_differs(taped: tuple[Path, Paper]) -> None:
    """0 where all is equal, 1 where it is not; settings are those of the session where none are given."""
    folder, paper = taped
    equal = tickdeck("backtest", CHURNER, folder, "--compare")
    assert (equal.exit_code, equal.stderr) == (0, "")
    assert f"digest {paper.session.log.hexdigest()}" in equal.stdout
    other = tickdeck("backtest", CHURNER, folder, "--compare", "--latency", "entry=21ms,response=15ms")
    assert other.exit_code == 1
    assert "setting latency: entry=20ms,response=15ms on paper, entry=21ms,response=15ms here" in other.stdout
    assert re.search(r"^row \d+ of the decision log differs: the venue answered otherwise", other.stdout, re.MULTILINE)


def test_a_session_in_a_recording_that_went_on_is_found_and_compared(tmp_path: Path) -> None:
    """A comparison begins at the SESSION_START of its own session; of two in one recording both are compared."""
    folder = tmp_path / "tape"

    async def main() -> Paper:
        async with EmbeddedVenue(clock=SystemClock(), venue="dydx_v4", seed=7) as venue:
            for _ in range(2):
                async with on_paper(folder, "dydx_v4", venues=[venue]) as paper:
                    await paper.until_rows(20)
        return paper

    paper = asyncio.run(main())
    assert len(paper_logs(folder)) == 2
    assert [compare(PaperLog(path), paper.plan, Recording.open(folder)).is_equal for path in paper_logs(folder)] == [
        True
    ] * 2
    assert tickdeck("backtest", CHURNER, folder, "--compare").exit_code == 0


def test_what_a_session_that_died_has_written_is_compared_as_far_as_it_goes(taped: tuple[Path, Paper]) -> None:
    """Its log has no last line, and perhaps half of one."""
    folder, paper = taped
    path = paper_logs(folder)[0]
    lines = path.read_bytes().splitlines(keepends=True)
    cut = path.with_name("cut.txt")
    cut.write_bytes(b"".join(lines[:-10]) + lines[-10][:20])
    comparison = compare(PaperLog(cut), paper.plan, Recording.open(folder))
    assert (comparison.difference, comparison.is_equal) == (None, True)
    assert comparison.rows == len(lines) - 11
    assert comparison.notes == ["the paper session did not end by itself: compared as far as both go"]
    cut.write_bytes(b"".join([*lines[:5], lines[6], lines[5], *lines[7:]]))
    moved = compare(PaperLog(cut), paper.plan, Recording.open(folder))
    assert moved.difference is not None
    assert moved.difference.number == 4
    cut.unlink()


class Fails(Strategy):
    """Fails at the fifth trade."""

    wakes = Wakes(trades=True)
    _count = 0

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        self._count += 1
        ctx.log(trade.trade_id)
        if self._count == 5:
            raise RuntimeError("that is enough")


def test_a_strategy_that_fails_leaves_the_recording_alone_and_fails_again_at_the_same_message(tmp_path: Path) -> None:
    folder = tmp_path / "tape"

    async def main() -> Paper:
        async with on_paper(folder, "hyperliquid", strategy=Fails) as paper:
            await paper.until(lambda: paper.trader.session is not None and paper.session.phase is Phase.FAILED)
            frames = paper.recorder.status.frame_count
            await paper.until(lambda: paper.recorder.status.frame_count > frames + 20)
        return paper

    paper = asyncio.run(main())
    assert verify(folder).is_sound
    assert any("the strategy has ended, recording goes on: " in line and "RuntimeError" in line for line in paper.lines)
    comparison = compared(folder, paper.plan)
    assert comparison.is_equal
    assert comparison.rows == 6  # five trades, and the failure
    assert "RuntimeError: that is enough" in (PaperLog(paper_logs(folder)[0]).end or _ended(folder)).failure


class Once(Strategy):
    """Can be made for the plan, and not for the session."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        if self.made > 1:
            raise SystemExit(0)


def test_a_strategy_that_cannot_be_begun_is_said_once_and_the_recording_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "tape"

    async def main() -> Paper:
        async with on_paper(folder, "hyperliquid", strategy=Once) as paper:
            await paper.until(lambda: paper.recorder.status.frame_count > 20)
            assert paper.trader.parts() == [(0, "strategy FAILED")]
        return paper

    paper = asyncio.run(main())
    assert verify(folder).is_sound
    (line,) = [line for line in paper.lines if "the strategy has ended, recording goes on: " in line]
    assert "Once(): SystemExit: 0" in line
    assert paper.trader.finish() is None
    assert isinstance(paper.trader.failure, StrategyError)


def _ended(folder: Path) -> Any:
    log = PaperLog(paper_logs(folder)[0])
    list(log.rows())
    return log.end


class Slow(Strategy):
    """Takes its time, by the machine's clock."""

    wakes = Wakes(every="200ms", trades=True)

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        ctx.log("timer", mid=ctx.book(ctx.pairs[0]).mid_price)
        sum(range(400_000))

    def on_trade(self, ctx: Context, trade: Trade) -> None:
        ctx.log("trade")


def test_a_slow_strategy_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it costs is lag, which is shown and, above a limit, written into the recording; no decision depends on it."""
    monkeypatch.setattr(trader, "LAG_NS_SAID", 1_000_000)
    folder = tmp_path / "tape"

    async def main() -> Paper:
        async with on_paper(folder, "hyperliquid", strategy=Slow) as paper:
            await paper.until_rows(40)
            await paper.until(lambda: paper.trader.lag_ns_max > 1_000_000)
            assert re.fullmatch(r"lag [\d,]+ ms", paper.trader.parts()[-1][1])
            await paper.until_rows(10)
        return paper

    paper = asyncio.run(main())
    assert compared(folder, paper.plan).is_equal
    frames = [frame for batch in Recording.open(folder).raw_frames() for frame in batch]
    assert any(b"strategy_lag" in frame.payload for frame in frames if frame.kind == CONTROL)
    assert any("the strategy lags" in line for line in paper.lines)


def test_a_symbol_in_place_of_a_pair_ends_the_strategy_with_the_pairs_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder takes both; a strategy would wait for ever for a pair of that name."""
    monkeypatch.setitem(sessions.PAIRS, "hyperliquid", "BTC")

    async def main() -> Paper:
        async with on_paper(tmp_path / "tape", "hyperliquid", strategy=Slow) as paper:
            await paper.until(lambda: paper.trader.session is not None and paper.session.phase is Phase.FAILED)
        return paper

    paper = asyncio.run(main())
    assert str(paper.session.failure) == "BTC is a symbol of hyperliquid; its pair is BTC-USD: name that"


def test_paper_sends_no_order_anywhere(taped: tuple[Path, Paper]) -> None:
    """What left the machine is what a recorder sends: subscriptions, pings and questions, and no request changes anything."""
    folder, _ = taped
    sent = [
        frame for batch in Recording.open(folder).raw_frames() for frame in batch if frame.kind in (WS_OUT, REST_OUT)
    ]
    assert sent
    for frame in sent:
        body = msgspec.json.decode(frame.payload) if frame.payload.startswith(b"{") else {}
        assert set(body) & {"action", "signature", "nonce", "order", "orders"} == set(), frame.payload
        if frame.kind == WS_OUT:
            assert body["method"] in ("subscribe", "unsubscribe", "ping"), frame.payload


def test_nothing_that_paper_is_made_of_could_send_one() -> None:
    """Its modules, and all of ours that they import, name no socket, no key and no signature outside of the recorder's way."""
    forbidden = re.compile(
        r"(^|\.)(socket|aiohttp|websockets|httpx|urllib\.request|http\.client|hmac|ecdsa|eth_account)(\.|$)"
    )
    own = Path(trader.__file__).parents[1]
    for path in [*(own / "paper").glob("*.py"), *(own / "strategy").glob("*.py"), *(own / "backtest").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            assert [
                name for name in names if forbidden.search(name) or name.startswith(("toolkit.transport", "requests"))
            ] == [], path


def test_margin_refusals_and_transfers_are_the_same_on_paper_and_replayed(tmp_path: Path) -> None:
    """With so little capital that orders are refused, and a deposit on the way; the settings are kept with the session."""
    later = Transfer(SystemClock().time_ns() + 10**9, "USDC", Decimal(5))
    money = RunSettings(
        latency="entry=20ms,response=15ms",
        seed=3,
        capital={"USDC": Decimal(3)},
        parameters={"lots": 30},
        leverage={"": Decimal(20), "BTC-USD": Decimal(10)},
        margin={"": MarginMode.ISOLATED},
        transfers=(later,),
        fee_volume=Decimal(6_000_000),
    )

    async def session() -> Paper:
        async with on_paper(tmp_path, "hyperliquid", settings=money) as paper:
            await paper.until_rows(30)
            paper.venues[0].drop_connections()
            await paper.until_rows(30)
        return paper

    paper = asyncio.run(session())
    kept = PaperLog(paper_logs(tmp_path)[-1])
    assert kept.start.settings == replace(money, parameters=kept.start.settings.parameters)
    assert kept.start.head.money == {
        "leverage": {"*": "20", "BTC-USD": "10"},
        "margin": {"*": "isolated"},
        "fee_volume": "6000000",
        "transfers": [[later.at_ns, "USDC", "5"]],
    }
    rows = list(kept.rows())
    assert [row.acts[0] for row in rows if row.kind == "money"] == ["transfer"]
    assert any(Reason.MARGIN in row.acts for row in rows if row.kind == "response")
    assert compared(tmp_path, paper.plan).is_equal
    other = RunPlan(paper.plan.loaded, paper.plan.pairs.keys, replace(money, leverage={"": Decimal(19)}))
    assert {name for name, _, _ in compared(tmp_path, other).settings} == {"money.leverage.*", "money.leverage.BTC-USD"}
