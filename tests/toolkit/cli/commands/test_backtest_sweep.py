"""`tickdeck backtest` with several values of parameters: a row for each run, each what it is alone."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from recordings.recording import Recording
from replay.results.result import Result
from tests.golden.expectations import RECORDINGS
from tests.toolkit.cli.terminal import run
from toolkit.clock import format_ns

TAPE = next(path for path in RECORDINGS if (path.parent.name, path.name) == ("format-2", "binance-usdm"))
ASSUMED = ("--assume", "tick=0.1", "--assume", "lot=0.001", "--assume", "min_notional=1", "--pair", "BTC-USDT")


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep") / "maker.py"
    path.write_text(
        dedent(
            """
            from tickdeck import Context, Side, Strategy, Wakes

            class Maker(Strategy):
                away: int = 0
                size: float = 0.002
                pair: str = "BTC-USDT"
                wakes = Wakes(every="100ms")

                def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
                    book, rules = ctx.book(self.pair), ctx.rules(self.pair)
                    if book.mid_price is not None:
                        price = rules.ticks_up(book.mid_price, -self.away)
                        ctx.keep(self.pair, "a", Side.BUY, price=price, size=self.size, post_only=False)
            """
        )
    )
    return path


def rows_of(*words: Any) -> list[dict[str, str]]:
    done = run("backtest", *words, *ASSUMED, "--csv")
    assert done.exit_code == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_each_value_goes_with_each_other_and_each_run_is_what_it_is_alone(maker: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    rows = rows_of(maker, TAPE, "--set", "away=0,9", "--set", "size=0.002,0.004", "--out", out)
    assert [(row["away"], row["size"]) for row in rows] == [
        ("0", "0.002"),
        ("0", "0.004"),
        ("9", "0.002"),
        ("9", "0.004"),
    ]
    assert len({row["net [USDT]"] for row in rows}) > 2
    assert sorted(each.name for each in out.iterdir())[0] == "away=0,size=0.002"
    for row in rows:
        words = ("--set", f"away={row['away']}", "--set", f"size={row['size']}")
        alone = run("backtest", maker, TAPE, *words, *ASSUMED, "--json")
        told = json.loads(alone.stdout)
        saved = Result.open(out / f"away={row['away']},size={row['size']}")
        assert saved.summary()["metrics"] == told["metrics"]
        assert float(row["net [USDT]"]) == pytest.approx(float(saved.net_profit))
        assert int(row["fills"]) == saved.fills.height
        assert int(row["orders"]) == saved.orders.height


def test_a_fork_is_one_run_until_then(maker: Path) -> None:
    info = json.loads(run("backtest", maker, TAPE, *ASSUMED, "--json").stdout)
    first, last = Recording.open(TAPE).span or (0, 0)
    at = format_ns((first + last) // 2)
    done = run("backtest", maker, TAPE, *ASSUMED, "--fork-at", at, "--set", "away=0,30", "--json")
    assert done.exit_code == 0, done.stderr
    unchanged, changed = json.loads(done.stdout)
    assert unchanged["metrics"] == info["metrics"]
    assert changed["metrics"] != info["metrics"]
    assert f"All went on from one state at {at}, digest " in done.stderr


def test_a_sweep_that_makes_no_sense_is_one_line(maker: Path, tmp_path: Path) -> None:
    for words, said in (
        (("--set", "away=1,,2"), "--set away=1,,2: expected values that differ, for instance away=1,2,3"),
        (("--set", "away=1,1"), "--set away=1,1: expected values that differ"),
        (("--set", "away=1,2", "--plot", tmp_path / "x.png"), "--plot is of one run, and 2 runs are asked for"),
        (("--set", "away=1,2", "--carry", "positions"), "--carry positions is of one run"),
        (("--set", "away=1,x"), "Maker: away is 'x', expected a whole number"),
        (("--set", f"away={','.join(map(str, range(10_001)))}"), "--set asks for 10,001 runs, expected 10,000 at most"),
        (("--fork-at", "2001-01-01T00:00"), "the fork is at 2001-01-01"),
        (("--set", "pair=A,B"), "'A,B' is no pair of this run"),
    ):
        done = run("backtest", maker, TAPE, *ASSUMED, *words)
        assert done.exit_code != 0
        assert said in done.stderr
        assert done.stderr.count("\n") <= 2, done.stderr


def test_values_of_a_step_function_are_a_run_each(tmp_path: Path) -> None:
    """Where compiled runs do not do what is assumed, it runs as plain Python, with the same table."""
    path = tmp_path / "joins.py"
    path.write_text(
        dedent(
            """
            from tickdeck import step
            from tickdeck.actions import BUY, keep

            @step(every="100ms", parameters={"away": 0})
            def joins(now, why, q, me, p, s, act):
                if q[0].bid:
                    keep(act, 0, 1, BUY, q[0].bid - p.away * q[0].tick, 3 * q[0].lot)
            """
        )
    )
    rows = rows_of(path, TAPE, "--set", "away=0,50", "--limit", "order_size=5")
    assert [row["away"] for row in rows] == ["0", "50"]
    assert int(rows[0]["orders"]) > 0
