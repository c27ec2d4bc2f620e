"""Options that several commands have: the same name means the same everywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import click
import pytest

from tests.analysis.tapes import make_recording
from tests.toolkit.cli.terminal import only_error, run, walk
from toolkit.cli.main import cli
from toolkit.cli.options.value_types import Duration, DurationSeconds, Instant

#: Names that have two meanings, each of which is written once: what a command makes, and what it looks at.
TWO_MEANINGS: Final = {
    "--out": {"FOLDER", "FILE", "PAGE"},  # a recording is a folder, a result is a file, a report is a page
    "--clock": {"", "CLOCK"},  # whose time a report counts in, or whose clock the simulated venue lives on
    "--seed": {"SEED", "NUMBER"},  # of a synthetic market, or of a strategy
    "--venue": {"VENUE", "NAME"},  # a filter of what is recorded, or whose interface something is to be
    "--jobs": {"N", "PROCESSES"},  # parts of the work at a time, or processes that share one import
    "--channel": {"KIND", "CHANNEL"},  # a kind of message of a recording, or a stream in the venue's words
}


LEAVES = [(path, command) for path, command in walk(cli) if not isinstance(command, click.Group)]


def shape(option: click.Option) -> tuple[str, str, str]:
    """Type, metavar and help, as a user sees them."""
    kind = re.sub(r" object at 0x\w+", "", repr(option.type))
    if "--time-unit" in option.opts:
        kind = "of the format of the lines: a collector writes no seconds"
    return (kind, (option.metavar or "") if not option.is_flag else "", option.help or "")


def test_an_option_is_the_same_in_every_command() -> None:
    shapes: dict[str, dict[tuple[str, str, str], list[str]]] = {}
    for path, command in LEAVES:
        for option in command.params:
            if isinstance(option, click.Option):
                for name in option.opts:
                    if name.startswith("--"):
                        shapes.setdefault(name, {}).setdefault(shape(option), []).append(" ".join(path))
    differing = {}
    for name, found in shapes.items():
        metavars = [metavar for _, metavar, _ in found]
        is_allowed = len(set(metavars)) == len(metavars) and set(metavars) <= TWO_MEANINGS.get(name, set())
        if len(found) > 1 and not is_allowed:
            differing[name] = found
    assert differing == {}


def test_a_short_option_stands_for_one_long_one() -> None:
    longs: dict[str, set[str]] = {}
    for _, command in LEAVES:
        for option in command.params:
            for short in option.opts:
                if len(short) == 2:
                    longs.setdefault(short, set()).update(name for name in option.opts if len(name) > 2)
    assert {short: names for short, names in longs.items() if len(names) > 1} == {}


def test_every_command_with_rows_has_json_and_every_table_rows() -> None:
    for path, command in LEAVES:
        names = {name for option in command.params for name in option.opts}
        assert "--json" in names or path in (("demo",), ("report",)), path  # a show of what others do, and a page
        assert ("--rows" in names) == ("--format" in names), path


# -- pairs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tape(tmp_path: Path) -> str:
    """BTC-USD and ETH-USDC, with everything that the commands read."""
    rows: dict[str, list[dict[str, object]]] = {
        "top": [], "fills": [], "orders": [], "events": [], "raw": [{}], "positions": []
    }  # fmt: skip
    for symbol, pair in (("BTC", "BTC-USD"), ("@7", "ETH-USDC"), ("@8", "ETH-USDT")):
        key = {"symbol": symbol, "trading_pair": pair, "capture_seq": 1, "ts_recv": 10**18}
        quote = {"bid_price": 1.0, "bid_size": 1.0, "ask_price": 2.0, "ask_size": 1.0}
        rows["top"] += [{**key, **quote}, {**key, **quote, "capture_seq": 2, "ts_recv": 10**18 + 10**9}]
        rows["fills"].append(key)
        rows["orders"].append(key)
        rows["positions"].append(key)
        rows["events"].append({**key, "kind": "gap", "stream": "full"})
    make_recording(tmp_path / "tape", rows)
    return str(tmp_path / "tape")


READERS = [("gaps",), ("analyze", "spreads"), ("analyze", "orders"), ("analyze", "pnl")]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
@pytest.mark.parametrize(("name", "pair"), [("BTC-USD", "BTC-USD"), ("BTC", "BTC-USD"), ("@7", "ETH-USDC")])
def test_a_pair_has_the_same_names_in_every_command(tape: str, words: tuple[str, ...], name: str, pair: str) -> None:
    rows = json.loads(run(*words, tape, "--pair", name, "--json").stdout)
    assert {row["trading_pair"] for row in rows} == {pair}


@pytest.mark.parametrize("words", [*READERS, ("replay",), ("follow",)], ids=" ".join)
def test_a_pair_that_is_not_there_is_the_same_error_in_every_command(tape: str, words: tuple[str, ...]) -> None:
    said = only_error(run(*words, tape, "--pair", "btc-usd"))
    assert said == f"'btc-usd' is not in {tape}, expected one of BTC-USD, ETH-USDC, ETH-USDT"
    said = only_error(run(*words, tape, "--pair", "ETH"))
    assert said == "'ETH' is the base of ETH-USDC, ETH-USDT: name one of them"
    said = only_error(run(*words, tape, "--pair", ""))
    assert said == f"'' is not in {tape}, expected one of BTC-USD, ETH-USDC, ETH-USDT"


# -- times and lengths ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ns"),
    [("250ms", 250_000_000), ("1.5h", 5_400 * 10**9), ("90", 90 * 10**9), ("7d", 604_800 * 10**9), ("1us", 1000)],
)
def test_a_length_of_time_has_one_grammar(text: str, ns: int) -> None:
    assert Duration().convert(text, None, None) == ns
    assert DurationSeconds().convert(text, None, None) == ns / 10**9


@pytest.mark.parametrize("text", ["soon", "0s", "-1s", "1e3s", "9" * 400 + "d", "nan", "", "1 h", "400000d"])
def test_what_is_no_length_of_time_is_said(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is no duration; expected such as 250ms"):
        Duration().convert(text, None, None)


def test_a_time_is_exact_to_the_nanosecond() -> None:
    assert Instant().convert("2023-11-14T22:13:20.123456789Z", None, None) == 1_700_000_000_123_456_789
    assert Instant().convert("now", None, None) > 1_700_000_000 * 10**9


# -- before or after the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("--json", "gaps"), ()),
        (("--pair", "BTC", "--json", "gaps"), ()),
        (("--pair=BTC", "gaps"), ("--json",)),
        (("gaps",), ("--pair", "BTC", "--json")),
        (("--json", "analyze", "--pair", "BTC", "spreads"), ()),
        (("-p", "BTC", "analyze", "--json", "orders"), ()),
    ],
)
def test_options_may_stand_before_the_command(tape: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    words = [word for word in before if not word.startswith("-") and word not in ("BTC", "gaps")]
    plain = run(
        *(words or ["gaps"]),
        tape,
        "--json",
        *(["--pair", "BTC"] if any("BTC" in each for each in (*before, *after)) else []),
    )
    moved = run(*before, tape, *after)
    assert (moved.exit_code, moved.stdout) == (plain.exit_code, plain.stdout)
    assert json.loads(moved.stdout)


@pytest.mark.parametrize("words", [("--nonsense", "gaps"), ("--pair", "gaps"), ("nonsense", "gaps"), ("ctl", "--json")])
def test_what_is_no_option_of_the_command_is_still_an_error(words: tuple[str, ...]) -> None:
    assert run(*words, "x").exit_code == 2


def test_the_controls_take_their_place_before_or_after() -> None:
    said = {
        only_error(run("ctl", *words)).partition(":")[0]
        for words in (
            ("--url", "http://127.0.0.1:1", "status"),
            ("status", "--url", "http://127.0.0.1:1"),
            ("--json", "status", "--url=http://127.0.0.1:1"),
            ("--url", "http://127.0.0.1:1", "seek", "-5m"),
            ("seek", "-5m", "--json", "--url", "http://127.0.0.1:1"),
        )
    }
    assert said == {"nothing answers at http"}
