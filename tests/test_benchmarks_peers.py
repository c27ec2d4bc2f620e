"""The market maker that other systems keep too: the same grid, the same frames counted, the ratio of what is shown."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

from benchmarks import backtesting_peers, fast_peers
from benchmarks.captures import BINANCE
from benchmarks.grid import GRID, wanted
from benchmarks.harness import Options
from benchmarks.peer_environments import ENVIRONMENT, PeerFailed, peer_job, peer_turns

MS = 1_000_000
START_MS = 1_723_161_255_000


def capture(path: Path, *, frames: int) -> Path:
    """A second and more of a calm USD-M market, a quote beside each diff, in which one trade sweeps the bids and asks follow."""
    lines: list[tuple[int, dict[str, object]]] = []
    book = {"bids": [["60000.00", "1.000"], ["59990.00", "9.000"]], "asks": [["60000.10", "1.000"]]}
    lines.append((START_MS, {"lastUpdateId": 10, "E": START_MS, "T": START_MS, **book}))
    for number in range(frames):
        at = START_MS + 1 + number * 20
        ids = {"U": 11 + number, "u": 11 + number, "pu": 10 + number}
        bids, asks = [["59980.00", f"{number + 1}.000"]], []
        if number == frames // 2 + 1:  # what the trade left, and an ask that follows it
            bids += [["60000.00", "0.000"], ["59990.00", "0.000"]]
            asks = [["59985.00", "2.000"]]
        diff = {"e": "depthUpdate", "E": at, "T": at, "s": "BTCUSDT", **ids, "b": bids, "a": asks}
        quote = {"e": "bookTicker", "u": 11 + number, "s": "BTCUSDT", "b": "60000.00", "B": "1.000", "a": "60000.10"}
        lines.append((at, {"stream": "btcusdt@depth@0ms", "data": diff}))
        lines.append((at, {"stream": "btcusdt@bookTicker", "data": {**quote, "A": "1.000", "T": at, "E": at}}))
        if number == frames // 2:
            trade = {
                "e": "trade",
                "E": at,
                "T": at,
                "s": "BTCUSDT",
                "t": 7,
                "p": "59985.00",
                "q": "5.000",
                "X": "MARKET",
            }
            lines.append((at, {"stream": "btcusdt@trade", "data": {**trade, "m": True}}))
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wb") as file:
        for at, frame in lines:
            file.write(b"%d %s\n" % (at * MS, msgspec.json.encode(frame)))
    return path


def peer(folder: Path, **told: object) -> Path:
    """An interpreter that answers whatever job it is given with these facts, and counts how often it was asked."""
    answer = json.dumps({"version": "0", "convert_seconds": 1.0, "cancels": 1, "rejects": 0, **told})
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nopen({str(folder / 'asked')!r}, 'a').write('x')\nprint({answer!r})\n")
    path.chmod(0o755)
    return path


def test_the_grid_lies_on_its_interval_on_both_sides() -> None:
    """As many orders a side as said, none nearer to the middle than half the spread."""
    ticks = wanted(600_003, 600_004, 0.0, **{name: GRID[name] for name in GRID if name != "size"})  # type: ignore[arg-type]
    buys, sells = ([tick for tick, is_buy in ticks.items() if is_buy is side] for side in (True, False))
    assert (buys, sells) == ([599_980 - 10 * n for n in range(10)], [600_030 + 10 * n for n in range(10)])


@pytest.mark.parametrize(("held", "sides"), [(0.1, {False}), (-0.1, {True}), (0.098, {True, False})])
def test_the_grid_leaves_out_the_side_that_is_full(held: float, sides: set[bool]) -> None:
    """At the largest position nothing is sent that would add to it."""
    ticks = wanted(10_000, 10_001, held, count=3, half_spread=20, interval=10, position_max=0.1)
    assert set(ticks.values()) == sides


def test_only_quotes_are_left_out(tmp_path: Path) -> None:
    """The other frames stay as they were, in order."""
    given = capture(tmp_path / "given.gz", frames=8)
    kept = gzip.decompress(backtesting_peers.without_quotes(given, tmp_path / "kept.gz").read_bytes()).splitlines()
    lines = gzip.decompress(given.read_bytes()).splitlines()
    assert kept == [line for line in lines if b"bookTicker" not in line]
    assert (len(lines), len(kept)) == (18, 10)


@pytest.mark.usefixtures("uncompiled")
def test_both_trade_in_turns_and_the_ratio_is_that_of_the_times_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once for each run, on the tape without quotes and on the whole; ours has orders and fills too."""
    capture(tmp_path / BINANCE, frames=60)
    python = peer(tmp_path, count=62, seconds=[2.0], cpu_seconds=[4.0], orders=9, fills=3)
    monkeypatch.setattr(backtesting_peers, "peer_environment", lambda _: python)
    figures = backtesting_peers.compared(Options(folder=tmp_path, repeats=2, shared=tmp_path), "backtest")
    assert (tmp_path / "asked").read_text() == "xxxx"
    assert len(figures) == 8
    for ours, theirs, cpu, wall in (figures[:4], figures[4:]):
        assert theirs.value == pytest.approx(62 / 4.0)
        assert cpu.value == pytest.approx(ours.value / theirs.value)
        assert wall.value > 0
        assert "in NautilusTrader an order that rests is filled" in cpu.note
        assert theirs.note.endswith("9 orders, 3 fills, 1 cancels, 0 rejects")
        assert "62 frames" in ours.note
        assert " 0 orders" not in ours.note
        assert " 0 fills" not in ours.note


@pytest.mark.usefixtures("uncompiled")
def test_a_peer_that_fails_is_left_out_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one that did not trade: its message is shown, and there is no ratio."""
    capture(tmp_path / BINANCE, frames=60)
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nraise SystemExit('it did not trade: 0 orders, 0 fills')\n")
    python.chmod(0o755)
    monkeypatch.setattr(backtesting_peers, "peer_environment", lambda _: python)
    assert backtesting_peers.compared(Options(folder=tmp_path, repeats=1, shared=tmp_path), "backtest") == []
    assert "nautilus-backtest is left out: it did not trade: 0 orders, 0 fills" in capsys.readouterr().err


def test_without_a_capture_the_comparison_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No environment is made for it."""
    assert backtesting_peers.compared(Options(folder=tmp_path), "peers") == []
    assert "peers: NautilusTrader is left out: there is no capture of Binance here" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not (ENVIRONMENT / "nautilus_trader" / ".installed").exists(), reason="its environment is made by `make bench`"
)
def test_nautilus_trades_the_grid(tmp_path: Path) -> None:
    """It counts all frames with market data, quotes left out or not, sends orders and has fills of the one sweep."""
    whole = capture(tmp_path / "whole.gz", frames=60)
    books = backtesting_peers.without_quotes(whole, tmp_path / "books.gz")
    python = ENVIRONMENT / "nautilus_trader" / "bin" / "python"
    told = [peer_job(python, "nautilus-backtest", path, 1) for path in (whole, books)]
    assert [facts and facts["count"] for facts in told] == [122, 62]
    for facts in told:
        assert facts is not None
        assert facts["orders"] >= 20
        assert facts["fills"] > 0
        assert len(facts["seconds"]) == len(facts["cpu_seconds"]) == 1


def turns_peer(folder: Path, code: str) -> Path:
    """An interpreter that runs this in place of whatever it is told to."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{code}\n")
    path.chmod(0o755)
    return path


def test_a_peer_in_turns_runs_a_job_each_time_it_is_asked(tmp_path: Path) -> None:
    """Ours go between: it waits for the next name."""
    python = turns_peer(
        tmp_path,
        "print(json.dumps({'version': '9'}), flush=True)\n"
        "for count, line in enumerate(sys.stdin):\n"
        "    print(json.dumps({'job': line.strip(), 'count': count}), flush=True)",
    )
    with peer_turns(python, "any", tmp_path) as (version, turn):
        assert version == "9"
        assert [turn(name) for name in ("grid", "bare")] == [{"job": "grid", "count": 0}, {"job": "bare", "count": 1}]


@pytest.mark.parametrize("code", ["raise SystemExit('no book')", "print(json.dumps({'version': '9'}), flush=True)"])
def test_a_peer_in_turns_that_ends_says_why(tmp_path: Path, code: str) -> None:
    """Before it is ready as well as between two runs."""
    python = turns_peer(tmp_path, code)
    with pytest.raises(PeerFailed, match=r"no book|no message"), peer_turns(python, "any", tmp_path) as (_, turn):
        turn("grid")


def fills_of(*rows: tuple[int, float, str]) -> pl.DataFrame:
    """Fills as a result has them."""
    return pl.DataFrame(rows, schema={"ts_event": pl.Int64, "price": pl.Float64, "side": pl.String}, orient="row")


def test_fills_of_both_are_compared_one_by_one() -> None:
    """Those of one time in any order; another time, price or side is none of the other's."""
    mine = fills_of((5, 60000.1, "buy"), (7, 60000.3, "sell"))
    assert fast_peers._same_fills(mine, [[7, 600_003, -1], [5, 600_001, 1]]) == "2 fills, the same in both"
    for other in ([[7, 600_003, -1]], [[7, 600_003, -1], [5, 600_001, -1]], [[7, 600_003, -1], [6, 600_001, 1]]):
        with pytest.raises(SystemExit, match="the fills differ"):
            fast_peers._same_fills(mine, other)


def test_without_a_capture_compiled_runs_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No environment is made for it."""
    assert fast_peers.compared(Options(folder=tmp_path), "fast") == []
    assert "fast: hftbacktest is left out: there is no capture of Binance here" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not (ENVIRONMENT / "hftbacktest" / ".installed").exists(), reason="its environment is made by `make bench`"
)
def test_hftbacktest_trades_the_grid_at_the_times_of_receipt(tmp_path: Path) -> None:
    """One sweep fills the bids of the grid, at the recorded time of that trade, with either of its books."""
    books = backtesting_peers.without_quotes(capture(tmp_path / "whole.gz", frames=60), tmp_path / "books.gz")
    python = ENVIRONMENT / "hftbacktest" / "bin" / "python"
    with peer_turns(python, "hftbacktest-compiled", books) as (_, turn):
        told = [turn(f"grid {book}")["fills"] for book in ("hash", "dense")]
    assert sorted(told[0]) == sorted(told[1]) != []
    assert {at for at, _, _ in told[0]} == {(START_MS + 1 + 30 * 20) * MS}
    assert {side for _, _, side in told[0]} == {1}
