"""A run on margin as its result has it: a recording that account reports read, and facts of the money in its manifest."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis import pnl_check, pnl_report
from recordings.care.verifying import verify
from recordings.recording import Recording
from replay.clearing.house_settings import Transfer
from replay.fast_classes.strategy_backtest import backtest
from replay.results.result import Result
from replay.results.result_writing import write_result
from replay.tape import Tape
from tests.replay.clearing.money_tapes import DAY, HOUR, START, Market, run
from tests.replay.strategy.sessions import Played
from tests.serving import synthetic_session
from tests.toolkit.cli.terminal import run as tickdeck
from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.keys import PairKey

HYPERLIQUID = PairKey("hyperliquid", "BTC-USD")
MAKER = '''
from tickdeck import Strategy, Wakes


class Buyer(Strategy):
    """Buys once, with a stop behind it."""

    wakes = Wakes(every="500ms")

    def on_timer(self, ctx, name, due_ns):
        pair = ctx.pairs[0]
        book = ctx.book(pair)
        if not ctx.position(pair).size and not ctx.orders() and book.best_bid is not None:
            rules = ctx.rules(pair)
            ctx.buy(pair, rules.round_size(50 / book.best_bid.price))
            ctx.sell(pair, rules.round_size(40 / book.best_bid.price), stop=rules.round_price("sell", book.best_bid.price * 0.5))
'''


def liquidated() -> Played:
    """Bought 100 at 101 with 505, funding once, a deposit of 1, and liquidated at the mark of 97."""
    market = Market(HYPERLIQUID)
    market.rate(START + 1, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    market.rate(START + HOUR + 5, mark_price=100.0, index_price=100.0, funding_rate=0.0001)
    market.quote(START + 2 * HOUR, 96, 98)
    market.rate(START + 2 * HOUR + 5, mark_price=97.0, index_price=97.0, funding_rate=0.0)
    return run(
        market.end(START + DAY),
        [(START + 60, lambda ctx: ctx.buy("BTC-USD", 100))],
        keys=[HYPERLIQUID],
        capital="505",
        fees={"maker": Decimal(0), "taker": Decimal(0)},
        leverage={"": Decimal(20)},
        transfers=(Transfer(START + HOUR // 2, "USD", Decimal(1)),),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    played = liquidated()
    assert played.record is not None
    path = tmp_path_factory.mktemp("money") / "result"
    write_result(played.record, path)
    return path


def test_a_result_says_what_became_of_the_money_step_by_step(folder: Path) -> None:
    """505 + 1 - 2 (funding: twice 100 * 100 * 0.0001) - 500 = 4; equity at 97: 506 - 2 - 400 = 104 against 121.25."""
    info = Result.open(folder).info
    (account,) = info.accounts
    assert [int(each) for each in (account.cash, account.funding, account.transfers, account.net)] == [4, -2, 1, -502]
    (step,) = info.liquidations
    assert (step.what, step.mark_price, step.equity, step.maintenance, step.size) == (
        "order",
        "97",
        "104",
        "121.25",
        "100",
    )
    assert info.settings["money"]["leverage"] == {"*": "20"}
    assert [tier.name for tier in info.tiers] == []
    assert info.counts["liquidations"] == 1
    assert [preset.venue for preset in info.presets] == ["hyperliquid"]


def test_account_reports_read_funding_transfers_and_liquidations_of_a_result(folder: Path) -> None:
    assert verify(folder).is_sound
    (row,) = pnl_report(Recording.open(folder)).rows(named=True)
    assert [row[name] for name in ("realized", "funding", "net", "position_end")] == [-500, -2, -502, 0]
    (check,) = pnl_check(Recording.open(folder)).rows(named=True)
    assert (check["moved"], check["gained"], check["difference"]) == (1, -502, 0)
    fills = pl.read_parquet(sorted(folder.rglob("fills/**/*.parquet")))
    assert fills["cause"].to_list() == [None, "liquidation"]
    events = pl.read_parquet(sorted(folder.rglob("account_events/**/*.parquet")))
    assert events.select("kind", "amount").rows() == [("deposit", 1.0)]


def test_the_same_run_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    played = liquidated()
    assert played.record is not None
    write_result(played.record, tmp_path / "again")
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert [(folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names] == [True] * len(
        names
    )


def test_the_command_takes_all_settings_of_the_money_and_repeats_them(tmp_path: Path) -> None:
    synthetic_session(tmp_path / "tape", seconds=5)
    (tmp_path / "buyer.py").write_text(MAKER)
    when = Tape([Recording.open(tmp_path / "tape")]).first_ns + 10**9
    done = tickdeck(
        *("backtest", tmp_path / "buyer.py", tmp_path / "tape", "--pair", "BTC-USD", "--capital", "USDC=100"),
        *("--leverage", "3", "--margin", "BTC-USD=isolated", "--fee-tier", "2", "--fee-volume", "7000000"),
        *("--transfer", f"{format_ns(when)} USDC=5", "--assume", "maintenance=0.01", "--assume", "mark=mid", "--json"),
        *("--out", tmp_path / "result"),
    )
    assert done.exit_code == 0, done.stderr
    json.loads(done.stdout)
    info = Result.open(tmp_path / "result").info
    assert info.settings["money"] == {
        "leverage": {"*": "3"},
        "margin": {"BTC-USD": "isolated"},
        "fee_tier": "2",
        "fee_volume": "7000000",
        "mark": "mid",
        "transfers": [[when, "USDC", "5"]],
    }
    assert info.settings["assumed"] == {"maintenance": "0.01"}
    assert [tier.name for tier in info.tiers] == ["2"]
    assert info.accounts[0].transfers == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--leverage", "many"), "leverage 'many' is not understood; expected for instance 20, or BTC-USD=20"),
        (("--leverage", "5", "--margin", "both"), "margin 'both' is not understood"),
        (("--margin", "isolated"), "margin is chosen without a leverage: give one, for instance --leverage 5"),
        (("--fee-tier", "gold"), "no fee tier 'gold', expected one of 0, 1, 2"),
        (("--fee-volume", "x"), "--fee-volume is 'x', expected a number"),
        (("--fees", "maker=0bp", "--fee-tier", "1"), "--fees goes with neither --fee-tier nor --fee-volume"),
        (("--transfer", "soon USDC=1"), "'soon' is no time"),
        (("--leverage", "BTC=5"), "leverage of 'BTC', which is no pair of the run: expected one of BTC-USD"),
        (("--leverage", "5", "--leverage", "6"), "leverage of all pairs is given twice, as 5 and 6; expected it once"),
        (("--leverage", "5", "--margin", "BTC-USD=cross,BTC-USD=isolated"), "margin of BTC-USD is given twice"),
        (("--assume", "mark=foo"), "--assume mark is 'foo', expected mid: the middle of the book"),
        (("--assume", "foo=1"), "contract_value, maintenance, price_band, mark, block, cancel_blocks or fee_asset"),
        (("--assume", "block=70ms", "--assume", "block=80ms"), "--assume block is given twice, as '70ms' and '80ms'"),
        (("--fee-tier", "hyperliquid=2,hyperliquid=3"), "fee tier of hyperliquid is given twice"),
        (("--capital", "USDC=5"), "capital in USDC is given twice, as 1000 and 5; expected it once"),
        (("--leverage", "60"), "leverage 60, but it has"),
    ],
)
def test_a_setting_of_the_money_that_makes_no_sense_is_one_line(
    short_tape: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    (tmp_path / "buyer.py").write_text(MAKER)
    done = tickdeck(
        "backtest", tmp_path / "buyer.py", short_tape, "--pair", "BTC-USD", "--capital", "USDC=1000", *options
    )
    assert done.exit_code != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def short_tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("short") / "tape"
    synthetic_session(path, seconds=3)
    return path


def test_python_takes_the_same_settings_in_the_forms_that_it_has(short_tape: Path, tmp_path: Path) -> None:
    (tmp_path / "buyer.py").write_text(MAKER)
    when = Tape([Recording.open(short_tape)]).first_ns // 10**9 * 10**9 + 10**9
    result = backtest(
        tmp_path / "buyer.py",
        short_tape,
        trading_pairs="BTC-USD",
        capital={"USDC": 100},
        leverage={"BTC-USD": 3.5},
        margin="isolated",
        fee_tier="hyperliquid=1",
        fee_volume=6e6,
        transfers=[(datetime.fromtimestamp(when // 10**9, UTC), {"USDC": 5})],
        assumed={"mark": "mid", "block": "70ms", "maintenance": "0.01"},
    )
    assert result.info.settings["money"] == {
        "leverage": {"BTC-USD": "3.5"},
        "margin": {"*": "isolated"},
        "fee_tier": "hyperliquid=1",
        "fee_volume": "6000000",
        "mark": "mid",
        "block_ns": 70_000_000,
        "transfers": [[when, "USDC", "5"]],
    }
    assert result.info.accounts[0].transfers == 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"leverage": 0}, r"^leverage is 0, expected 1 or more"),
        ({"leverage": float("nan")}, r"^leverage is nan, expected a number"),
        ({"leverage": "abc"}, r"^leverage is 'abc', expected a number"),
        ({"capital": 1000}, r"^capital is 1000, expected values by name, for instance {'USDC': 1000}"),
        ({"transfers": 5}, r"^transfers: 5 is none, expected pairs of a time and amounts"),
        ({"transfers": "2000-01-01 USDC=5"}, r"^transfers: '2000-01-01 USDC=5' is none"),
        ({"transfers": [("2000-01-01",)]}, r"^transfers: \('2000-01-01',\) is none"),
        ({"transfers": [("2000-01-01", 5)]}, r"^the amounts of a transfer is 5"),
        ({"assumed": ["tick=1"]}, r"^assumed is \['tick=1'\], expected values by name"),
        (
            {"assumed": {"tock": 1}},
            r"expected .* or maintenance or price_band or mark or block or cancel_blocks or fee_asset",
        ),
        ({"parameters": "x"}, r"^parameters is 'x', expected values by name"),
        ({"leverage": 2, "margin": "shared"}, r"^margin is 'shared', expected cross or isolated"),
        ({"assumed": {"mark": "last"}}, r"^assumed: mark is 'last', expected mid"),
        ({"assumed": {"block": "soon"}}, r"'soon' is no length of time"),
        ({"fee_volume": -5}, r"^fee volume is -5"),
        ({"transfers": [("2000-01-01", {"USDC": 0})]}, r"^a transfer of 0 USDC, expected a number that is not 0"),
    ],
)
def test_settings_of_the_money_that_make_no_sense_in_python_are_one_line(
    short_tape: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    (tmp_path / "buyer.py").write_text(MAKER)
    with pytest.raises(ConfigError, match=said):
        backtest(tmp_path / "buyer.py", short_tape, trading_pairs="BTC-USD", **{"capital": {"USDC": 100}, **settings})
