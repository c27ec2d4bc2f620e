"""`--venue`, and one pair on several venues in what commands print."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.toolkit.cli.terminal import only_error, run
from tests.venue_tapes import KEYS, VENUES, tape_of_venues

#: Commands that choose pairs, and what they take to print rows or messages.
CHOOSERS = [
    ("analyze", "spreads"),
    ("analyze", "orders"),
    ("analyze", "pnl"),
    ("gaps",),
    ("replay",),
    ("follow",),
]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tape_of_venues(tmp_path_factory.mktemp("venues") / "tape").path


def keys(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted({(row["venue"], row["trading_pair"]) for row in rows})


@pytest.mark.parametrize("words", CHOOSERS, ids=" ".join)
def test_an_unknown_venue_is_the_same_error_everywhere(tape: Path, words: tuple[str, ...]) -> None:
    """Whether a pair is named besides or not."""
    text = f"no venue 'kraken' in {tape}, expected one of {', '.join(VENUES)}"
    for more in ((), ("--pair", "BTC-USD")):
        assert only_error(run(*words, str(tape), "--venue", "kraken", *more)) == text


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (("--pair", "BTC-USD"), {KEYS[0], KEYS[3], KEYS[4]}),
        # A base that is a symbol of one venue means the pair of all; a symbol of one venue alone means that one.
        (("--pair", "BTC"), {KEYS[0], KEYS[3], KEYS[4]}),
        (("--pair", "BTCUSD_PERP"), {KEYS[0]}),
        (("--pair", "BTCUSDT", "--venue", "binance-spot"), {KEYS[1]}),
        (("--pair", "BTC-USD", "--venue", "dydx_v4", "--venue", "hyperliquid"), {KEYS[3], KEYS[4]}),
        (("--venue", "hyperliquid"), {KEYS[4], KEYS[5]}),
    ],
)
def test_a_venue_is_chosen_alike_by_reports_replays_and_followers(
    tape: Path, options: tuple[str, ...], kept: set[tuple[str, str]]
) -> None:
    rows = json.loads(run("analyze", "spreads", str(tape), *options, "--json").stdout)
    assert keys(rows) == sorted(kept)
    printed = [run(name, str(tape), *options, "--print").stdout for name in ("replay", "follow")]
    assert printed[0] == printed[1]
    assert keys([json.loads(line) for line in printed[0].splitlines()]) == sorted(kept)


def test_a_table_names_the_venues_as_soon_as_there_are_several(tape: Path) -> None:
    heads = [
        next(line.split() for line in run("analyze", "spreads", str(tape), *options).stdout.splitlines() if "median" in line)
        for options in ((), ("--venue", "hyperliquid"))
    ]  # fmt: skip
    assert (heads[0][:2], heads[1][0]) == (["venue", "pair"], "pair")


def test_crossed_books_are_told_by_venue(tmp_path: Path) -> None:
    """Two books of one name are two counts, in the text and as JSON."""
    tape = tape_of_venues(tmp_path / "tape", crossed=("binance-spot", "binance-usdm")).path
    found = run("replay", str(tape))
    lines = [line for line in found.stdout.splitlines() if line.startswith("crossed book: ")]
    assert lines == [
        f"crossed book: BTC-USDT on {venue} after 5 messages" for venue in ("binance-spot", "binance-usdm")
    ]
    rows = json.loads(run("replay", str(tape), "--json").stdout)["crossed"]
    assert rows == [
        {"venue": venue, "trading_pair": "BTC-USDT", "messages": 5} for venue in ("binance-spot", "binance-usdm")
    ]


def test_info_and_ls_count_instruments_and_not_names(tape: Path) -> None:
    """Six instruments of four names are six, each with its venue where a name is not enough."""
    named = [f"BTC-USD on {venue}" for venue in ("binance-coinm", "dydx_v4", "hyperliquid")]
    named += ["BTC-USDT on binance-spot", "BTC-USDT on binance-usdm", "ETH-USD"]
    values = json.loads(run("info", str(tape), "--json").stdout)
    assert values["pairs"] == named
    assert [(row["venue"], row["trading_pair"]) for row in values["instruments"]] == KEYS
    assert ", ".join(named) in run("info", str(tape)).stdout
    (row,) = json.loads(run("ls", str(tape.parent), "--json").stdout)
    assert row["pairs"].startswith(", ".join(named[:3]))


def test_sql_has_the_rows_of_a_venue(tape: Path) -> None:
    query = "SELECT venue, count(*) AS n FROM trades GROUP BY ALL"
    assert json.loads(run("sql", str(tape), query, "--venue", "dydx_v4", "--json").stdout) == [
        {"venue": "dydx_v4", "n": 6}
    ]
    gaps = run("sql", str(tape), "SELECT count(*) AS n FROM gaps", "--venue", "dydx_v4", "--json").stdout
    assert json.loads(gaps) == [{"n": 0}]
    text = f"no venue 'kraken' in {tape}, expected one of {', '.join(VENUES)}"
    assert only_error(run("sql", str(tape), query, "--venue", "kraken")) == text
    assert only_error(run("serve", str(tape), "--venue", "kraken")) == text


@pytest.mark.parametrize(
    ("words", "venues"),
    [
        (("BTC-USDT", "--venue", "binance-usdm", "--venue", "binance-spot"), ["binance-usdm", "binance-spot"]),
        (("binance-spot", "BTC-USDT", "binance-usdm", "BTC-USDT", "--venue", "binance-usdm"), ["binance-usdm"]),
        (("--config", "{config}", "--venue", "binance-spot"), ["binance-spot"]),
        (("--config", "{config}"), ["binance-spot", "binance-usdm"]),
    ],
)
def test_record_takes_the_venues_that_are_named(tmp_path: Path, words: tuple[str, ...], venues: list[str]) -> None:
    """Pairs without a venue before them are recorded of each; of a file or a longer list only those are."""
    config = tmp_path / "record.toml"
    tables = [f'[[venue]]\nname = "{name}"\npairs = ["BTC-USDT"]\n' for name in ("binance-spot", "binance-usdm")]
    config.write_text("\n".join(tables))
    printed = run("record", *(word.format(config=config) for word in words), "--print-config").stdout
    found = tomllib.loads(printed)["venue"]
    assert [(venue["name"], venue["pairs"]) for venue in found] == [(name, ["BTC-USDT"]) for name in venues]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("binance-spot", "BTC-USDT", "--venue", "dydx_v4"), "no venue 'dydx_v4' in what is to be recorded, expected one of binance-spot"),
        (("BTC-USDT", "--venue", "binance"), "unknown venue 'binance', expected one of "),
        (("--venue", "dydx_v4"), "Missing argument 'VENUE PAIR...' (or --config)."),
    ],
)  # fmt: skip
def test_record_says_which_venue_is_not_there(words: tuple[str, ...], text: str) -> None:
    assert only_error(run("record", *words)).startswith(text)
