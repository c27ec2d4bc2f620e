"""Another program's results are met: all of its hand-made tapes, and a cut of its runs on captures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.oracle import MICRO, check_micro, check_runs
from benchmarks.oracle_account import Account, compare_states
from benchmarks.oracle_command import oracle as oracle_command


@pytest.fixture(scope="session")
def oracle(shared_data: Path) -> Path:
    """The folder of results."""
    folder = shared_data.parent / "backtest" / "oracle"
    if not (folder / MICRO).is_file():
        pytest.skip(f"no results of another program at {folder}; they stand beside the captures")
    return folder


def test_every_hand_made_tape_of_the_oracle_is_met(oracle: Path) -> None:
    verdicts = list(check_micro(oracle, compiled=False))
    assert [verdict for verdict in verdicts if verdict.difference] == []
    assert len(verdicts) == len(json.loads((oracle / MICRO).read_bytes())["cases"]) > 200


@pytest.mark.slow
def test_a_cut_of_the_oracle_on_a_capture_is_met(oracle: Path, shared_data: Path, tmp_path: Path) -> None:
    """The smallest capture, with every strategy: the first run of each exchange, and the last."""
    met = 0
    for path in sorted(oracle.glob("spot_*.json")):
        for runs in (slice(0, 2), slice(-1, None)):
            verdicts = list(check_runs(path, shared_data, tmp_path, runs=runs))
            assert [verdict for verdict in verdicts if verdict.difference] == []
            met += sum(verdict.fills for verdict in verdicts)
    assert met > 5_000


def one_tape(folder: Path, **changes: Any) -> Path:
    """A folder of results with one tape: 10 ahead of our bid, 11 traded, one lot filled."""
    case = {
        "name": "queue",
        "latency": [3, 5],
        "queue": "risk",
        "exchange": "partial",
        "tape": [[100, "depth", "bid", 99, 10], [300, "trade", "sell", 99, 11]],
        "actions": [[200, "buy", 1, 99, 5, "GTC", "limit"]],
        "return_codes": [0],
        "fills": [[300, 1, "buy", 99, 1.0, "maker"]],
    }
    (folder / MICRO).write_text(json.dumps({"feed_latency": 7, "cases": [case | changes]}))
    return folder


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({}, ""),
        ({"fills": [[300, 1, "buy", 99, 2.0, "maker"]]}, "fill 1 is [300, 1, 'buy', 99, 1.0, 'maker'], expected"),
        ({"fills": [[301, 1, "buy", 99, 1.0, "maker"]]}, "fill 1 is"),
        ({"fills": [[300, 1, "buy", 99, 1.0, "taker"]]}, "fill 1 is"),
        ({"fills": []}, "1 fills, expected 0; the first without another is [300, 1"),
        ({"return_codes": [11]}, "return codes [0], expected [11]"),
        ({"queue": "power:1", "exchange": "nopartial"}, "fill 1 is [300, 1, 'buy', 99, 5.0, 'maker']"),
    ],
)
def test_a_run_that_differs_is_told_with_its_first_difference(
    tmp_path: Path, changes: dict[str, Any], difference: str
) -> None:
    (verdict,) = check_micro(one_tape(tmp_path, **changes), compiled=False)
    assert verdict.difference.startswith(difference)
    assert bool(verdict.difference) == bool(difference)


def test_sums_are_compared_to_a_billionth() -> None:
    """One buy of 2 at 100 as maker, one sell of 1 at 110 as taker; and an inverse contract of 100 at 50."""
    account = Account({"tick": 0.1, "kind": "linear", "contract": 1.0, "fees": [0.01, 0.02]})
    account.take_all([[1, 1, "buy", 1000, 2.0, "maker"], [2, 2, "sell", 1100, 1.0, "taker"]])
    expected = {
        "position": 1.0,
        "balance": -90.0,
        "fee": 4.2,
        "num_trades": 2,
        "trading_volume": 3.0,
        "trading_value": 310.0,
    }
    assert compare_states(account.state(), expected) == ""
    assert compare_states(account.state(), expected | {"fee": 4.2001}).startswith("final fee is 4.2")
    inverse = Account({"tick": 1.0, "kind": "inverse", "contract": 100.0, "fees": [0.0, 0.0]})
    inverse.take_all([[1, 1, "buy", 50, 3.0, "maker"]])
    assert inverse.state()["balance"] == -6.0


def test_the_command_says_what_is_missing_in_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(oracle_command, ["--data", str(tmp_path), "--oracle", str(tmp_path)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"no results in {tmp_path} fit '*'\n"
    run = {"latency": "1ms/1ms", "queue": "risk", "exchange": "partial", "ended": "end of tape", "fills": []}
    document = {
        "data": "usdm_x",
        "source": "../data/binance/x.gz",
        "clock_offset_ns": 0,
        "instrument": {"tick": 0.1, "lot": 0.001, "kind": "linear", "contract": 1.0, "fees": [0, 0]},
        "runs": [run],
    }
    (tmp_path / "x.json").write_text(json.dumps(document))
    done = CliRunner().invoke(oracle_command, ["--data", str(tmp_path), "--oracle", str(tmp_path)])
    assert done.exit_code == 1
    expected = f"x.json: no capture at {tmp_path / 'binance' / 'x.gz'}, as usdm_x needs it; --data names the folder of captures"
    assert done.stderr == f"Error: {expected}\n"
