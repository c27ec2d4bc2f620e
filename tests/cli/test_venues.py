"""`--venue`, and one pair on several venues in what commands print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import only_error, run
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
