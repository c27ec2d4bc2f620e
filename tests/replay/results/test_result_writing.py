"""The result of a run on disk: read as any recording is, the same bytes for the same run, whole or not there."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import connect, order_report, pnl_check, pnl_report, scan
from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest
from recordings.queries.gaps import find_gaps
from recordings.recording import Recording
from recordings.storage.lock import FolderLock
from replay.ledger.ledger import LedgerMarket
from replay.ledger.money import Contract, ContractKind
from replay.market.layout import BUY, SELL, Role
from replay.results import result_writing
from replay.results.result_writing import check_folder, write_result
from replay.results.run_info import as_run, read_run, run_info
from replay.results.run_record import RunRecord
from replay.results.run_study import Rerun, RunStudy
from replay.source import ReplayDataSource
from tests.replay.results.runs import HEAD, at, linear_market, quote, recorder, small_run, trade
from tests.toolkit.cli.terminal import run
from toolkit.errors import ConfigError, RecordingError, RecordingLocked


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """The small run, written."""
    write_result(small_run(), tmp_path / "out" / "first")
    return tmp_path / "out" / "first"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_run_gives_the_same_bytes(result: Path, tmp_path: Path) -> None:
    write_result(small_run(), tmp_path / "elsewhere")
    assert contents(tmp_path / "elsewhere") == contents(result)


def test_rows_that_were_not_held_make_the_same_bytes(
    result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three at a time in memory, and in the batches that are written."""
    monkeypatch.setattr("replay.results.spooled_rows.BLOCK_ROWS", 3)
    monkeypatch.setattr("replay.results.result_writing.BLOCK_ROWS", 3)
    write_result(small_run(), tmp_path / "elsewhere")
    assert contents(tmp_path / "elsewhere") == contents(result)


def test_it_is_a_sound_recording(result: Path) -> None:
    """Hashes, order, counts and the digest of its rows; that there are no frames is no fault."""
    found = verify(result)
    assert (found.problems, found.normalized_digest, found.raw_digest) == ([], found.recorded_digest, None)
    assert found.notes == [
        "it is the result of a backtest run, which has no raw frames: run it again to see whether it gives the same digest"
    ]


def test_a_changed_row_is_found(result: Path) -> None:
    """Of the tables that are no messages, too."""
    path = result / "decisions" / "000000.parquet"
    path.write_bytes(path.read_bytes().replace(b"timer", b"timed"))
    assert [problem.partition(" ")[0] for problem in verify(result).problems] == ["decisions/000000.parquet"]


def test_orders_are_reported_as_those_of_a_live_account(result: Path) -> None:
    """Slippage against the mid price that stood before: 100, and then 106."""
    rows = order_report(result)
    columns = ("side", "state", "price", "filled", "fee", "mid_decision", "slippage_decision_bps", "slippage_fill_bps")
    assert rows.select(columns).rows() == [
        ("buy", "filled", 100.0, 2.0, 0.02, 100.0, 0.0, 0.0),
        ("sell", "filled", 106.0, 1.0, 0.053, 106.0, 0.0, 0.0),
    ]


def test_profit_is_reported_as_that_of_a_live_account(result: Path) -> None:
    """The report, which knows nothing of the ledger, finds what the ledger says; and so does its check of the balance."""
    [row] = pnl_report(result).rows(named=True)
    assert [row[name] for name in ("realized", "fees", "unrealized_end", "net", "position_end")] == [
        6,
        0.073,
        4,
        9.927,
        1,
    ]
    [check] = pnl_check(result).rows(named=True)
    assert [check[name] for name in ("value_first", "value_last", "gained", "difference")] == [
        10_000,
        10_009.927,
        9.927,
        0,
    ]


def test_it_is_queried_as_any_recording(result: Path) -> None:
    with connect(result) as database:
        assert database.sql("SELECT sum(fee), count(*) FROM fills").fetchall() == [(0.073, 2)]
        assert database.sql("SELECT max(equity) FROM equity").fetchall() == [(10_011.98,)]
        assert database.sql("SELECT kind, text FROM decisions").fetchall() == [
            ("timer", '{"buy":{"price":100,"size":2}}')
        ]
    assert scan(result, "series").select("name", "value").collect().rows() == [("fair", 100.5)]
    assert pl.read_parquet(result / "equity" / "000000.parquet", glob=False)["cash"].to_list()[-1] == 9905.927


def test_a_table_of_results_is_empty_in_other_recordings(workspace_template: Path) -> None:
    """So that one query goes over both."""
    monday = workspace_template / "tapes" / "monday"
    with connect(monday) as database:
        assert database.sql("SELECT count(*) FROM equity").fetchall() == [(0,)]
    assert scan(monday, "decisions").collect().is_empty()


def test_its_gaps_are_those_that_the_run_met(result: Path) -> None:
    [gap] = find_gaps(Recording.open(result)).rows(named=True)
    assert (gap["kind"], gap["cause"], gap["seconds"]) == ("gap", "disconnect", 2.0)


def test_it_is_replayed_from_its_rows(result: Path) -> None:
    """And from raw frames not: one line says why."""
    source = ReplayDataSource(result, with_digest=True)
    source.play()
    assert source.chain is not None
    assert source.chain.hexdigest() == Recording.open(result).manifest.digest
    with pytest.raises(
        RecordingError, match=r"first is the result of a run, which has no raw frames: replay it normalized$"
    ):
        ReplayDataSource(result, fidelity="raw").play()


def test_info_says_what_was_run(result: Path) -> None:
    assert (
        "\nrun            Maker: 2 fills, net 9.927 USDC, 3.33 % of time doubtful\n" in run("info", str(result)).stdout
    )
    said = json.loads(run("info", str(result), "--json").stdout)["run"]
    assert (said["strategy"], said["net_profit"], said["fills"]) == ("Maker", {"USDC": "9.927"}, 2)


def test_the_manifest_says_what_was_run(result: Path) -> None:
    """In exact numbers."""
    manifest = read_manifest(result)
    info = read_run(manifest.run, str(result))
    [account], [pair] = info.accounts, info.pairs
    assert (manifest.origin, info.strategy, info.parameters, info.seed) == ("backtest", "Maker", HEAD.parameters, 7)
    assert [account.net, account.realized, account.unrealized, account.fees] == [
        Decimal(text) for text in ("9.927", "6", "4", "0.073")
    ]
    assert [account.cash, account.drawdown_max] == [Decimal("9905.927"), Decimal("2.053")]
    assert (pair.maker_fills, pair.taker_fills, pair.position, pair.turnover) == (1, 1, Decimal(1), Decimal(306))


@pytest.mark.parametrize(
    ("value", "text"),
    [("2E+2", "200"), ("-1.2E+7", "-12000000"), ("1E-8", "0.00000001"), ("0E+3", "0"), ("9.50", "9.50")],
)
def test_amounts_are_written_without_an_exponent(value: str, text: str) -> None:
    """Of accounts, of pairs and of what was measured, however large or small."""
    amount, info = Decimal(value), run_info(small_run())
    rerun = Rerun(name="queue", title="", fills=0, nets={"USDC": amount})
    changed = msgspec.structs.replace(
        info,
        accounts=[msgspec.structs.replace(info.accounts[0], start=amount)],
        pairs=[msgspec.structs.replace(info.pairs[0], tick=amount)],
        study=RunStudy(parts=[], markets=[], reruns=[rerun]),
    )
    said = as_run(changed)
    assert [said["accounts"][0]["start"], said["pairs"][0]["tick"]] == [text, text]
    assert said["study"]["reruns"][0]["nets"] == {"USDC": text}
    assert as_run(read_run(said, "")) == said


def test_a_manifest_has_no_exponents(result: Path) -> None:
    text = (result / "recording.json").read_text()
    assert '"start": "10000"' in text
    assert not re.search(r'"-?[0-9.]+E[+-]?[0-9]+"', text)


# -- what is there already ------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_overwritten_without_being_asked(result: Path) -> None:
    before = contents(result)
    for write in (lambda: check_folder(result), lambda: write_result(small_run(), result)):
        with pytest.raises(ConfigError, match=r"first already exists: name another folder, or say --replace"):
            write()
    assert contents(result) == before


def test_an_earlier_result_is_replaced_and_notes_beside_it_are_kept(result: Path) -> None:
    (result / "notes").mkdir()
    (result / "notes" / "why.md").write_text("because")
    write_result(other_run(), result, replace=True)
    assert (result / "notes" / "why.md").read_text() == "because"
    assert verify(result).problems == []
    assert read_run(read_manifest(result).run, "").accounts[0].net == Decimal("-0.01")
    assert not (result / "series").exists()
    assert [path.name for path in result.parent.iterdir()] == ["first"]


def other_run() -> RunRecord:
    """Buys 1 at 100, where it stays."""
    made = recorder()
    quote(made, 1, 99, 101)
    trade(made, 3, BUY, 100, 100)
    made.frame_done(at(3))
    return made.finish(at(4))


@pytest.mark.parametrize("kind", ["a recording", "a folder of notes", "a file", "a link"])
def test_what_is_no_result_is_never_replaced(kind: str, result: Path, tmp_path: Path, workspace_template: Path) -> None:
    """Least of all a tape."""
    target = tmp_path / "target"
    if kind == "a recording":
        target.symlink_to(workspace_template / "tapes" / "monday")
        target = workspace_template / "tapes" / "monday"
    elif kind == "a folder of notes":
        target.mkdir()
        (target / "notes.md").write_text("mine")
    elif kind == "a file":
        target.write_text("mine")
    else:
        target.symlink_to(result)
    with pytest.raises(ConfigError, match="is not replaced, since it is not the result of a run"):
        write_result(small_run(), target, replace=True)
    assert target.exists()


@pytest.mark.parametrize("replace", [False, True])
def test_a_failure_leaves_what_was_there(replace: bool, result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half result under the name, nor beside it; what was there before is there again."""
    before = contents(result)
    target = result if replace else result.with_name("second")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(result_writing, "write_manifest", fail)
    with pytest.raises(RecordingError, match=r"cannot be written \(No space left on device\): no result was written"):
        write_result(small_run(), target, replace=replace)
    assert contents(result) == before
    assert [path.name for path in result.parent.iterdir()] == ["first"]


@pytest.mark.parametrize("step", ["before", "between", "after"])
def test_a_crash_while_replacing_is_healed_by_the_next_run(step: str, result: Path, tmp_path: Path) -> None:
    """Whatever instant it was at: the name has a whole result, or it gets the earlier one back."""
    write_result(other_run(), tmp_path / "new")
    old, part = (result.with_name(f".first.{what}") for what in ("old", "part"))
    if step == "before":
        (tmp_path / "new").replace(part)
    elif step == "between":
        result.replace(old)
        (tmp_path / "new").replace(part)
    else:
        result.replace(old)
        (tmp_path / "new").replace(result)
    write_result(small_run(), result, replace=True)
    assert [path.name for path in result.parent.iterdir()] == ["first"]
    assert read_run(read_manifest(result).run, "").accounts[0].net == Decimal("9.927")


def test_several_pairs_and_venues_keep_their_accounts_apart(tmp_path: Path) -> None:
    made = recorder(
        linear_market("hyperliquid", "BTC-USD"), linear_market("dydx_v4", "BTC-USD"), capital={"USDC": Decimal(100)}
    )
    trade(made, 1, BUY, 100, 100, pair=0)
    trade(made, 2, SELL, 103, 100, pair=1, role=Role.TAKER)
    made.frame_done(at(2))
    write_result(made.finish(at(5)), tmp_path / "two")
    assert verify(tmp_path / "two").problems == []
    info = read_run(read_manifest(tmp_path / "two").run, "")
    assert [(account.name, account.start, account.fees) for account in info.accounts] == [
        ("hyperliquid/USDC", Decimal(100), Decimal("0.01")),
        ("dydx_v4/USDC", Decimal(100), Decimal("0.0515")),
    ]
    report = pnl_report(tmp_path / "two")
    assert report.sort("venue")["fees"].to_list() == [0.0515, 0.01]


def test_two_runs_do_not_write_one_result(tmp_path: Path) -> None:
    """The second is refused, and what the first writes is untouched."""
    part = tmp_path / ".same.part"
    part.mkdir()
    (part / "half").write_text("of the first")
    with FolderLock(part):
        with pytest.raises(RecordingLocked):
            write_result(small_run(), tmp_path / "same")
        assert (part / "half").read_text() == "of the first"
    write_result(small_run(), tmp_path / "same")
    assert [path.name for path in tmp_path.iterdir()] == ["same"]


def test_a_run_that_replaces_a_result_is_alone_until_it_is_done(result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one neither puts the earlier result back nor takes what is left of it, at any step."""
    steps = []

    def step(name: str) -> Callable[..., None]:
        whole = getattr(result_writing, name)

        def stepped(*given: Any) -> None:
            steps.append(name)
            with pytest.raises(RecordingLocked):
                write_result(small_run(), result, replace=True)
            whole(*given)

        return stepped

    for name in ("write_manifest", "sync_folder", "_finish_replacing"):
        monkeypatch.setattr(result_writing, name, step(name))
    write_result(other_run(), result, replace=True)
    assert steps == ["_finish_replacing", "write_manifest", "sync_folder", "_finish_replacing"]
    assert read_run(read_manifest(result).run, "").accounts[0].net == Decimal("-0.01")
    assert [path.name for path in result.parent.iterdir()] == ["first"]


# -- other contracts ------------------------------------------------------------------------------------------------------


def spot_market() -> LedgerMarket:
    """PURR for USDC, ticks of 1, lots of 0.01."""
    contract = Contract(kind=ContractKind.SPOT, settle="USDC", base="PURR")
    return replace(linear_market(pair="PURR-USDC"), contract=contract)


def test_a_spot_pair_is_held_and_not_owed(tmp_path: Path) -> None:
    """Bought 2 at 100 and sold 1 at 106, worth 104 in the end: cash and things are balances of their own."""
    made = recorder(spot_market())
    quote(made, 1, 99, 101)
    trade(made, 2, BUY, 100, 200)
    trade(made, 3, SELL, 106, 100, role=Role.TAKER)
    quote(made, 4, 103, 105)
    made.frame_done(at(4))
    write_result(made.finish(at(5)), tmp_path / "spot")
    assert verify(tmp_path / "spot").problems == []
    last = scan(tmp_path / "spot", "balances").collect().sort("capture_seq", "sub_seq").group_by("asset").last()
    assert dict(last.select("asset", "total").iter_rows()) == {"USDC": 10_000 - 200 - 0.02 + 106 - 0.053, "PURR": 1.0}
    [row] = pnl_report(tmp_path / "spot").rows(named=True)
    assert [row[name] for name in ("realized", "fees", "unrealized_end", "net", "position_end")] == [
        6,
        0.073,
        4,
        9.927,
        1,
    ]


def test_an_inverse_contract_gains_coins(tmp_path: Path) -> None:
    """10 contracts of 100 USD from 50,000 to 62,500 are 0.004 BTC."""
    contract = Contract(kind=ContractKind.INVERSE, settle="BTC", base="BTC", contract_value=Decimal(100))
    market = replace(linear_market(), contract=contract, lot=Decimal(1))
    made = recorder(market, capital={"BTC": Decimal(1)})
    trade(made, 1, BUY, 50_000, 10)
    trade(made, 2, SELL, 62_500, 10)
    made.frame_done(at(2))
    info = write_result(made.finish(at(3)), tmp_path / "inverse")
    assert verify(tmp_path / "inverse").problems == []
    # Fees of 1 bp of 0.02 and of 0.016, to six decimals.
    assert (info.accounts[0].realized, info.accounts[0].net) == (
        Decimal("0.004"),
        Decimal("0.004") - Decimal("0.000004"),
    )


# -- two ways to one number -----------------------------------------------------------------------------------------------

_happenings = st.lists(
    st.tuples(
        st.sampled_from(["trade", "trade", "quote"]),
        st.integers(0, 1),
        st.sampled_from([BUY, SELL]),
        st.integers(50, 150),
        st.integers(1, 300),
        st.sampled_from([Role.MAKER, Role.TAKER]),
    ),
    min_size=1,
    max_size=40,
)


def agrees(folder: Path, happenings: Sequence[tuple[str, int, int, int, int, int]]) -> None:
    """The report on the account tables, which knows nothing of the ledger, comes to the ledger's numbers."""
    made = recorder(linear_market(pair="BTC-USD"), linear_market(pair="ETH-USD"))
    for second, (kind, pair, side, tick, lots, role) in enumerate(happenings):
        quote(made, second, tick - 1, tick + 1, pair=pair)
        if kind == "trade":
            trade(made, second + 0.5, side, tick, lots, pair=pair, role=role)
        made.frame_done(at(second + 0.5))
    info = write_result(made.finish(at(len(happenings))), folder)
    assert verify(folder).problems == []
    traded = [each for each in info.pairs if each.turnover]
    if not traded:
        return
    report = {row["trading_pair"]: row for row in pnl_report(folder).rows(named=True)}
    for of_pair in traded:
        found = report[of_pair.trading_pair]
        expected = {
            "bought": of_pair.bought,
            "sold": of_pair.sold,
            "turnover": of_pair.turnover,
            "realized": of_pair.realized,
            "fees": of_pair.fees,
            "unrealized_end": of_pair.unrealized,
            "position_end": of_pair.position,
            "net": of_pair.realized + of_pair.unrealized - of_pair.fees,
        }
        assert {name: found[name] for name in expected} == {
            name: pytest.approx(float(value), abs=1e-8) for name, value in expected.items()
        }
    assert float(info.accounts[0].net) == pytest.approx(sum(row["net"] for row in report.values()), abs=1e-8)


@settings(max_examples=6, deadline=None)
@given(_happenings)
def test_the_report_comes_to_the_numbers_of_the_ledger(happenings: list[tuple[str, int, int, int, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        agrees(Path(folder) / "run", happenings)


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(_happenings)
def test_the_report_comes_to_the_numbers_of_the_ledger_of_many_runs(
    happenings: list[tuple[str, int, int, int, int, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        agrees(Path(folder) / "run", happenings)
