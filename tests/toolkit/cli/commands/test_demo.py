"""`tickdeck demo`: the whole road, short."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from recordings.care.verifying import verify
from replay.results.result import Result
from tests.tapes import snapshot
from tests.toolkit.cli.terminal import run, spawn
from toolkit.books.tracker import OrderBookTracker
from toolkit.cli.commands.demo import until_quoted
from toolkit.clock import ManualClock


def test_the_demo_shows_recording_proof_and_spreads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digests are equal, every pair has a spread, and the paths it prints are there."""
    monkeypatch.chdir(tmp_path)
    done = run("demo", "--duration", "2s", "--out", "tape")
    assert done.exit_code == 0, done.stderr
    text = done.stdout
    assert [line[:2] for line in text.splitlines() if re.match(r"\d\. ", line)] == ["1.", "2.", "3.", "4."]
    digests = re.findall(r"^digest (?:while recording|of the .*?) +([0-9a-f]{32})$", text, re.MULTILINE)
    assert (len(digests), len(set(digests))) == (3, 1)
    assert "All equal: every message and every book after it is the same, live and replayed." in text
    for pair in ("BTC-USD", "ETH-USD", "PURR-USDC"):
        assert pair in text.partition("3. Its spreads")[2]
    assert (tmp_path / "tape" / "spreads.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "tape" / "fills.png").read_bytes().startswith(b"\x89PNG")
    assert verify(tmp_path / "tape").problems == []
    result = Result.open(tmp_path / "tape" / "results" / "market_maker")
    assert re.search(rf"^orders +{result.orders.height}$", text, re.MULTILINE)
    assert result.orders.height >= 2
    assert verify(tmp_path / "tape" / "results" / "market_maker").problems == []
    assert verify(tmp_path / "tape").recorded_digest == digests[0]
    assert "a synthetic exchange (seed 7) listens on ws://127.0.0.1:" in done.stderr


def test_the_demo_takes_no_folder_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    done = spawn("demo", "--out", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {tmp_path} is not empty and not a recording: name another folder\n"


@pytest.mark.parametrize(
    ("quoted_at", "stopped_s", "missing", "lines"),
    [
        ({"A": 0.5, "B": 1.0}, 2.0, [], 0),
        ({"A": 0.5, "B": 30.0}, 30.1, [], 1),
        ({"A": 0.5, "B": 1e9}, 62.0, ["B"], 1),
        ({}, 62.0, ["A", "B"], 1),
    ],
)
def test_the_demo_records_until_each_pair_has_quotes(
    quoted_at: dict[str, float], stopped_s: float, missing: list[str], lines: int
) -> None:
    """Not before its time, not for ever, and a line says that it takes longer, and what of."""
    clock, said = ManualClock(), list[str]()

    def now_s() -> float:
        return clock.monotonic_ns() / 1e9

    def tracker() -> OrderBookTracker:
        """What a recorder has heard: nothing of a pair before its time."""
        heard = OrderBookTracker()
        for pair, at_s in quoted_at.items():
            heard.apply(snapshot([(1.0, 1.0)], [(2.0, 1.0)] if now_s() >= at_s else [], trading_pair=pair))
        return heard

    async def play() -> Sequence[str]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(until_quoted(tracker, clock, ["A", "B"], 2.0, said.append, 60.0))
            while not task.done():
                clock.advance("100ms")
                for _ in range(4):
                    await asyncio.sleep(0)
        return task.result()

    assert asyncio.run(play()) == missing
    assert now_s() == pytest.approx(stopped_s, abs=0.21)
    assert len(said) == lines
    assert all(line.startswith("no quotes of ") and line.endswith("for 60 s at most") for line in said)
