"""What cannot be measured says why, and what to record for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import analysis
from tests.analysis.tapes import make_recording
from tests.toolkit.cli.terminal import only_error, run

S = 10**9
TS = 1_700_000_000 * S
QUOTE: dict[str, Any] = {"bid_price": 1.0, "bid_size": 1.0, "ask_price": 2.0, "ask_size": 1.0}


def quotes(symbol: str, **more: Any) -> list[dict[str, Any]]:
    key = {"symbol": symbol, "trading_pair": f"{symbol}-USD", **QUOTE, **more}
    return [{**key, "capture_seq": number, "ts_recv": TS + number * S} for number in range(3)]


def test_quotes_without_a_book_say_so(tmp_path: Path) -> None:
    """One table is left, which shows that no time counted; programs get the rows as ever."""
    bbo = [{"symbol": "BTC", "ts_recv": TS, **QUOTE}]
    make_recording(tmp_path / "tape", {"top": quotes("BTC", is_stale=True), "bbo": bbo})
    done = run("analyze", "spreads", tmp_path / "tape")
    assert done.exit_code == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("No spread of BTC-USD: the recording has their quotes and no book, ")
    assert "record a channel of books too" in line
    assert done.stdout.startswith("Time and updates\n")
    done = run("analyze", "spreads", tmp_path / "tape", "--json")
    assert (json.loads(done.stdout)[0]["quotes"], line in done.stderr) == (1, True)


def test_only_the_pairs_that_have_none_are_named(tmp_path: Path) -> None:
    top = [*quotes("BTC"), *quotes("ETH", is_stale=True)]
    make_recording(tmp_path / "tape", {"top": top, "book": [{"symbol": "BTC", "ts_recv": TS}]})
    done = run("analyze", "spreads", tmp_path / "tape")
    assert done.stderr == "No spread of ETH-USD: their book was stale, one-sided or crossed all the time.\n"
    assert done.stdout.count("BTC-USD") == 3


def test_of_several_venues_the_one_is_named(tmp_path: Path) -> None:
    """The same pair of another venue has a spread."""
    top = [*quotes("BTC"), *quotes("BTC", is_stale=True, venue="dydx_v4")]
    make_recording(tmp_path / "tape", {"top": top, "book": [{"symbol": "BTC", "ts_recv": TS}]})
    done = run("analyze", "spreads", tmp_path / "tape")
    assert done.stderr == "No spread of BTC-USD on dydx_v4: their book was stale, one-sided or crossed all the time.\n"
    fills = [{"symbol": "@7", "trading_pair": "HYPE-USDC", "fee_asset": "USDC", "venue": "dydx_v4"}]
    positions = [{"symbol": "BTC", "trading_pair": "BTC-USD"}]
    make_recording(tmp_path / "account", {"fills": fills, "positions": positions})
    assert "net of HYPE-USDC on dydx_v4 is empty: " in run("analyze", "pnl", tmp_path / "account").stderr


def test_the_course_of_a_profit_is_made_only_where_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_recording(tmp_path / "tape", {"fills": [{"symbol": "@7", "trading_pair": "HYPE-USDC", "fee_asset": "USDC"}]})
    made: list[object] = []
    real = analysis.pnl_series

    def counted(*args: Any, **more: Any) -> Any:
        made.append(more)
        return real(*args, **more)

    monkeypatch.setattr(analysis, "pnl_series", counted)
    counts = []
    for more in ((), ("--series",), ("--plot", tmp_path / "a.html"), ("--series", "--plot", tmp_path / "b.html")):
        assert run("analyze", "pnl", tmp_path / "tape", *more).exit_code == 0
        counts.append(len(made))
    assert counts == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            {"fills": [{"symbol": "@7", "trading_pair": "HYPE-USDC", "fee_asset": "USDC"}]},
            "its position has no price in the recording; record that pair too",
        ),
        (
            {
                "fills": [{"symbol": "@7", "trading_pair": "HYPE-USDC", "fee": 0.5, "fee_asset": "XYZ"}],
                "instruments": [
                    {"symbol": "@7", "trading_pair": "HYPE-USDC", "kind": "spot", "base": "HYPE", "quote": "USDC"}
                    | {"settle": "USDC"}
                ],
            },
            "a fee was paid in an asset that has no price in the recording; record a pair of it too",
        ),
    ],
    ids=["price", "fee"],
)
def test_a_profit_that_is_not_known_says_why(tmp_path: Path, rows: dict[str, Any], reason: str) -> None:
    make_recording(tmp_path / "tape", rows)
    done = run("analyze", "pnl", tmp_path / "tape")
    assert (done.exit_code, done.stderr) == (0, f"net of HYPE-USDC is empty: {reason}\n")
    assert json.loads(run("analyze", "pnl", tmp_path / "tape", "--json").stdout)[0]["net"] is None


def test_a_holding_that_is_in_no_profit_is_said(tmp_path: Path) -> None:
    rows = {
        "fills": [{"symbol": "@7", "trading_pair": "HYPE-USDC", "fee_asset": "USDC", "capture_seq": 1}],
        "balances": [{"asset": "HYPE", "total": 12.5, "wallet": "spot"}],
        "top": [{"symbol": "@7", "trading_pair": "HYPE-USDC", "capture_seq": 2, **QUOTE}],
    }
    make_recording(tmp_path / "tape", rows)
    done = run("analyze", "pnl", tmp_path / "tape")
    line = "HYPE-USDC: 12.5 of the base were held when the account was first watched; position and net do not include them\n"
    assert (done.exit_code, done.stderr) == (0, line)
    assert json.loads(run("analyze", "pnl", tmp_path / "tape", "--json").stdout)[0]["held_start"] == 12.5


@pytest.mark.parametrize(
    "words",
    [
        ("analyze", "spreads", "--plot", "{}/no/x.png"),
        ("analyze", "pnl", "--plot", "{}/no/x.png"),
        ("analyze", "orders", "--out", "{}/no/x.csv"),
        ("gaps", "--out", "{}/no/x.csv"),
        ("ls", "--out", "{}/no/x.csv"),
        ("sql", "SELECT 1 AS x", "--out", "{}/no/x.csv"),
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_file_that_cannot_be_written_is_said_before_the_work(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Even before the recording is opened, which is not there."""
    given = [word.format(tmp_path) for word in words]
    said = only_error(run(*given, "no-such-recording"))
    assert said.startswith(f"cannot write {given[-1]}: the folder {tmp_path}/no does not exist")
    (tmp_path / "no").mkdir()
    Path(given[-1]).mkdir()
    assert only_error(run(*given, "no-such-recording")) == f"cannot write {given[-1]}: it is a folder; name a file"
