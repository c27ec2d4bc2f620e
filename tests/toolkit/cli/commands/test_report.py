"""`tickdeck report`, and the report of `tickdeck backtest`: what is written, and one line for what cannot be."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from recordings.format.manifest import read_manifest, write_manifest
from recordings.recording import Recording
from replay.reports.sensitivity import rerun, variants
from replay.results.market_study import study_run
from replay.results.result import Result
from replay.results.result_writing import write_result
from replay.results.run_info import run_info
from replay.results.run_record import RunRecord
from replay.results.run_recorder import RunRecorder
from replay.strategy.failures import StrategyError
from replay.strategy.loading import load_strategy
from replay.strategy.plan import RunPlan, RunSettings
from tests.replay.results.runs import HEAD, linear_market, small_run
from tests.replay.results.test_report_page import Read
from tests.replay.tapes_of_trades import make
from tests.toolkit.cli.ptys import in_terminal
from tests.toolkit.cli.terminal import run
from toolkit.keys import PairKey

MS = 1_000_000
STEPS = ("--assume", "tick=0.1", "--assume", "lot=0.1", "--capital", "USD=1000", "--latency", "entry=1ms,response=1ms")
STRATEGY = """from tickdeck import Context, Side, Strategy, Wakes


class Joiner(Strategy):
    wakes = Wakes(every="10ms")

    def on_timer(self, ctx: Context, name: str, due_ns: int) -> None:
        book = ctx.book(ctx.pairs[0])
        if not book.is_stale and book.best_bid is not None:
            ctx.keep(ctx.pairs[0], "bid", Side.BUY, price=book.best_bid.price, size=1.0)
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of half a second, a strategy, and the result of a run by hand."""
    folder = tmp_path_factory.mktemp("report")
    make(folder / "tape", range(0, 500 * MS, 10 * MS), coins=("BTC",))
    (folder / "joiner.py").write_text(STRATEGY)
    write_result(small_run(), folder / "maker")
    return folder


def test_a_report_is_a_page_and_a_picture(work: Path, tmp_path: Path) -> None:
    done = run("report", work / "maker", "--out", tmp_path / "page.html")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"Written: {tmp_path / 'page.html'}, and its charts as {tmp_path / 'page.png'}\n"
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    page = Read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.text[1] == "3.33 % of the time and 85.3 % of the profit rest on doubtful data."


@pytest.mark.slow
def test_several_results_are_beside_each_other(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "maker", tmp_path / "other")
    done = run("report", work / "maker", tmp_path / "other", "-o", tmp_path / "a.html", "--picture", tmp_path / "b.png")
    assert done.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.png", "other"]
    assert "2 results beside each other" in Read((tmp_path / "a.html").read_text(encoding="utf-8")).text


def damaged(folder: Path) -> None:
    path = folder / "recording.json"
    text = path.read_text()
    path.write_text(text.replace('"doubtful_ns"', '"doubtful_xs"'))


def cut(folder: Path) -> None:
    path = next((folder / "fills").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("break_it", [damaged, cut])
def test_a_damaged_result_is_one_line_and_nothing_is_written(work: Path, tmp_path: Path, break_it: object) -> None:
    assert callable(break_it)
    shutil.copytree(work / "maker", tmp_path / "maker")
    break_it(tmp_path / "maker")
    done = run("report", tmp_path / "maker", "--out", tmp_path / "page.html")
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Error: ")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "tape"), "tape is no result but a recording of its own"),
        (("report", "nowhere"), "nowhere"),
        (("report", "maker", "--out", "page.txt"), "expected a name that ends in .html"),
        (("report", "maker", "--out", "no/page.html"), "the folder no does not exist"),
        (("report", "maker", "--picture", "page.gif"), "expected a name that ends in .png"),
        (("report", "maker", "--recording", "tape"), "played monday, whose digest no recording of --recording has"),
        (("report", *["maker"] * 13), "13 results to report, expected 1 to 12"),
    ],
)
def test_what_cannot_be_reported_is_one_line(
    work: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(work)
    done = run(*words)
    assert done.exit_code != 0
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert message in done.stderr
    assert not (work / "report.html").exists()


@pytest.mark.slow
def test_a_backtest_writes_its_report_with_what_it_came_to_otherwise(work: Path, tmp_path: Path) -> None:
    """And the result keeps all of that, so that a report of it is the same page."""
    out = tmp_path / "joiner"
    done = run("backtest", work / "joiner.py", work / "tape", *STEPS, "--out", out, "--report", tmp_path / "a.html")
    assert done.exit_code == 0, done.stderr
    study = Result.open(out).study
    assert study is not None
    assert [(rerun.name, bool(rerun.why_not)) for rerun in study.reruns] == [
        ("queue", False), ("latency_x0", False), ("latency_x2", False), ("fees_1bp", False), ("orders_receive", False),
        ("orders_venue", False),
    ]  # fmt: skip
    result = Result.open(out)
    # Its orders alone, on its own clock, come to the same, but for the rounding of fees.
    [alone] = [rerun for rerun in study.reruns if rerun.name == "orders_receive"]
    assert alone.fills == result.fills.height > 0
    assert abs(alone.nets["USD"] - result.net_profit) < Decimal("0.0001")
    [dearer] = [rerun for rerun in study.reruns if rerun.name == "fees_1bp"]
    turnover = result.info.pairs[0].turnover
    assert dearer.nets["USD"] == result.net_profit - turnover / 10_000
    assert turnover > 0
    assert run("report", out, "--out", tmp_path / "b.html").exit_code == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    # What was run again can be run by its setting.
    [twice] = [rerun for rerun in study.reruns if rerun.name == "latency_x2"]
    again = run("backtest", work / "joiner.py", work / "tape", *STEPS[:-2], *twice.setting.split(), "--json")
    numbers = {each["name"]: each["value"] for each in json.loads(again.stdout)["metrics"]}
    assert numbers["net_profit"] == f"{twice.nets['USD']:f}"
    assert numbers["maker_fills"] + numbers["taker_fills"] == twice.fills


def test_numbers_of_a_backtest_say_where_the_profit_came_from(work: Path) -> None:
    done = run("backtest", work / "joiner.py", work / "tape", *STEPS)
    lines = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in done.stdout.splitlines())
    assert {"spread captured", "adverse selection, 10 s", "inventory, 60 s", "share of volume, BTC-USD"} <= set(lines)
    told = json.loads(run("backtest", work / "joiner.py", work / "tape", *STEPS, "--json").stdout)["metrics"]
    assert all(each["source"] and each["definition"] for each in told)


@pytest.mark.slow
def test_a_result_that_was_not_measured_is_when_its_recording_is_named(work: Path, tmp_path: Path) -> None:
    out = tmp_path / "bare"
    assert run("backtest", work / "joiner.py", work / "tape", *STEPS, "--out", out).exit_code == 0
    manifest = json.loads((out / "recording.json").read_text())
    kept = manifest["run"]["study"]
    assert kept is not None
    record = small_run()
    record.head = record.head.__class__(
        strategy="Bare", recordings=[{"name": "tape", "digest": Recording.open(work / "tape").manifest.digest}]
    )
    write_result(record, tmp_path / "old")
    for options, is_measured in (((), False), (("--recording", str(work / "tape")), True)):
        assert run("report", tmp_path / "old", "--out", tmp_path / "page.html", *options).exit_code == 0
        text = Read((tmp_path / "page.html").read_text(encoding="utf-8")).text
        assert any("Not measured" in each for each in text) is not is_measured


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (99, "holds a result of version 99, this tickdeck reads up to 1: upgrade tickdeck"),
        (0, "holds a result of version 0, expected 1 to 1"),
        ("1", "does not say what was run"),
    ],
)
@pytest.mark.parametrize("command", ["report", "info"])
def test_a_result_of_another_version_is_refused(
    work: Path, tmp_path: Path, version: object, message: str, command: str
) -> None:
    """By whatever reads it: its fields may mean something else."""
    folder = tmp_path / "other"
    shutil.copytree(work / "maker", folder)
    manifest = read_manifest(folder)
    assert isinstance(manifest.run, dict)
    write_manifest(folder, msgspec.structs.replace(manifest, run={**manifest.run, "version": version}))
    done = run(command, folder, *(("--out", tmp_path / "page.html") if command == "report" else ()))
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plot", "a.html", "--report", "a.html"), "--plot and --report would both be written to a.html"),
        (("--plot", "a.png", "--report", "a.html"), "--plot and the charts of --report would both be written to a.png"),
        (("--plot", "a.html", "--report", "link/a.html"), "--plot and --report would both be written to link/a.html"),
        (("--out", "a.html", "--report", "a.html"), "--out and --report would both be written to a.html"),
        (("--report", "taken.html"), "cannot write taken.png: it is a folder"),
    ],
)
def test_outputs_of_a_backtest_that_cannot_all_be_are_refused_before_the_run(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "taken.png").mkdir()
    # Not looked at: the recording is none.
    done = run("backtest", work / "joiner.py", work / "maker" / "no_recording", *options)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "taken.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--picture", "/proc/a.png"), "cannot write /proc/a.png: the folder /proc "),
        (("--out", "taken.html"), "cannot write taken.png: it is a folder"),
        (("--quantstats", "report.html"), "--out and --quantstats would both be written to report.html"),
    ],
)
def test_a_report_that_cannot_be_written_whole_is_not_begun(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.png").mkdir()
    done = run("report", work / "maker", *options)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]


@pytest.mark.parametrize("command", ["spreads", "pnl"])
def test_a_picture_and_rows_of_one_name_are_refused(work: Path, tmp_path: Path, command: str) -> None:
    path = tmp_path / "a.html"
    done = run("analyze", command, work / "tape", "--csv", "--out", path, "--plot", path)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert f"--out and --plot would both be written to {path}" in done.stderr


@pytest.fixture(scope="module")
def measured(work: Path) -> Path:
    """The result of a run of `tape` that was measured when it was written, and another tape beside it."""
    tape = Recording.open(work / "tape")
    record = small_run()
    record.head = replace(record.head, recordings=[{"name": "tape", "digest": tape.manifest.digest}])
    record.study = study_run(record, [tape])
    write_result(record, work / "measured")
    make(work / "tuesday", range(0, 50 * MS, 10 * MS), coins=("BTC",))
    return work / "measured"


def test_what_a_measured_result_played_is_said_not_to_be_needed(measured: Path, tmp_path: Path) -> None:
    done = run("report", measured, "--out", tmp_path / "a.html", "--recording", measured.parent / "tape")
    assert done.exit_code == 0, done.stderr
    said = f"{measured} was measured when it was written: --recording is not needed for it\n"
    assert done.stderr == f"{said}Written: {tmp_path / 'a.html'}, and its charts as {tmp_path / 'a.png'}\n"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("tuesday",), "played tape, whose digest no recording of --recording has: name what was played"),
        (("tape", "tuesday"), "tuesday was played by none of the results: leave it out of --recording"),
    ],
)
def test_a_recording_that_was_not_played_is_refused_also_of_a_measured_result(
    measured: Path, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    options = [word for name in names for word in ("--recording", measured.parent / name)]
    done = run("report", measured, "--out", tmp_path / "a.html", *options)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr
    assert not (tmp_path / "a.html").exists()


def test_reruns_and_reports_are_for_strategies(work: Path, tmp_path: Path) -> None:
    (tmp_path / "orders.json").write_text("[]")
    for option in (("--report", str(tmp_path / "a.html")), ("--no-reruns",)):
        done = run("backtest", "--script", tmp_path / "orders.json", work / "tape", *option)
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert "is for strategies" in done.stderr


def test_a_probabilistic_run_is_run_again_with_a_pessimistic_queue(work: Path) -> None:
    loaded = load_strategy(work / "joiner.py")
    keys = [PairKey("hyperliquid", "BTC-USD")]
    for rules, other in (({}, "power"), ({"queue_front": "log"}, "pessimistic")):
        queue, *latencies = variants(RunPlan(loaded, keys, RunSettings(rules=rules, latency="feed,times=1.5")))
        assert queue.settings.rules["queue_front"] == other
        assert [each.settings.latency for each in latencies] == ["feed,times=0", "feed,times=3"]


BAR = """
import toolkit.cli.output.run_bar as module
module._QUIET_NS = module._RATE_STEP_NS = -1
with module.run_bar("Joiner " * 30, 0, 1_000) as told:
    for now in range(0, 1_000, 10) if told is not None else ():
        told(123_456_789, now)
print("done")
"""


@pytest.mark.parametrize("columns", [20, 60, 100])
def test_a_run_shows_how_far_it_is_in_one_line_of_a_terminal(columns: int) -> None:
    """However long the name is and however fast it goes; it is gone at the end."""
    status, sent = in_terminal([sys.executable, "-c", BAR], columns)
    assert status == 0, sent
    # Colours stand within a line, what moves the cursor between lines.
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", re.sub(r"\x1b\[[0-9;]*m", "", sent))
    bars = [part for line in plain.split("\n") for part in line.split("\r") if "%" in part]
    assert bars
    assert max(map(len, bars)) <= columns
    if columns >= 60:
        assert any(re.search(r"\d+%.*[\d,]+ events/s", bar) for bar in bars)
    assert plain.replace("\r", "\n").split("\n")[-2].strip() == "done"


def test_where_stderr_is_no_terminal_nothing_is_shown(work: Path, tmp_path: Path) -> None:
    done = run("backtest", work / "joiner.py", work / "tape", *STEPS)
    assert done.stderr == "" or "events/s" not in done.stderr


def test_a_rerun_that_fails_says_why_and_the_others_stand(work: Path) -> None:
    """Whatever becomes of one, the run itself and the other assumptions are there."""
    loaded = load_strategy(work / "joiner.py")
    keys = [PairKey("hyperliquid", "BTC-USD")]
    plan = RunPlan(loaded, keys, RunSettings())
    record = small_run()

    def again(other: RunPlan, title: str) -> RunRecord:
        if title == "twice the latency":
            raise StrategyError("joiner.py:9: on_timer: no")
        return small_run()

    found = {each.name: each for each in rerun(loaded, keys, plan, run_info(record), again)}
    assert found["latency_x2"].why_not == "joiner.py:9: on_timer: no"
    assert [found[name].nets["USDC"] for name in ("queue", "latency_x0")] == [Decimal("9.927")] * 2
    assert found["fees_1bp"].nets == {"USDC": Decimal("9.927") - Decimal("0.0306")}


GIVEN_UP = (
    STRATEGY
    + """
    runs = 0

    def on_start(self, ctx: Context) -> None:
        Joiner.runs += 1
        if Joiner.runs > 1:
            raise KeyboardInterrupt
"""
)


def test_reruns_that_are_given_up_leave_the_result(work: Path, tmp_path: Path) -> None:
    (tmp_path / "joiner.py").write_text(GIVEN_UP)
    done = run(
        "backtest", tmp_path / "joiner.py", work / "tape", *STEPS, "--out", tmp_path / "kept", "--report", tmp_path / "a.html"
    )  # fmt: skip
    said = f"The result is in {tmp_path / 'kept'}, whole; what was to follow it is not\n"
    assert (done.exit_code, done.stderr) == (130, f"{said}Aborted.\n")
    kept = Result.open(tmp_path / "kept")
    assert kept.study is not None
    assert (kept.study.reruns, len(kept.study.parts)) == ([], 3)
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize(
    ("begins", "pair", "is_measured"), [(5, "BTC-USD", True), (5, "ETH-USD", False), (-5, "BTC-USD", False)]
)
def test_a_paper_session_is_measured_by_a_recording_of_its_time_and_pairs_alone(
    work: Path, tmp_path: Path, begins: int, pair: str, is_measured: bool
) -> None:
    """It does not know the digest of the recording that it is in; by another market its numbers would be wrong."""
    span = Recording.open(work / "tape").span
    assert span is not None
    made = RunRecorder(replace(HEAD, kind="paper"), (linear_market(pair=pair),), {}, start_ns=span[0] + begins * MS)
    made.frame_done(span[0] + begins * MS)
    write_result(made.finish(span[1] + MS), tmp_path / "session")
    done = run("report", tmp_path / "session", "--out", tmp_path / "a.html", "--recording", work / "tape")
    if is_measured:
        assert done.exit_code == 0, done.stderr
        assert "Not measured" not in (tmp_path / "a.html").read_text(encoding="utf-8")
    else:
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert "is a paper session of another time or other pairs than every recording of --recording" in done.stderr


@pytest.mark.slow
def test_a_paper_session_is_measured_by_the_recording_that_it_is_in(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "tape", tmp_path / "tape")
    record = small_run()
    record.head = replace(record.head, kind="paper")
    write_result(record, tmp_path / "tape" / "paper" / "20261128T120000Z")
    assert run("report", tmp_path / "tape" / "paper" / "20261128T120000Z", "--out", tmp_path / "a.html").exit_code == 0
    text = Read((tmp_path / "a.html").read_text(encoding="utf-8")).text
    assert not any("Not measured" in each for each in text)
    write_result(record, tmp_path / "alone" / "paper" / "x")
    assert run("report", tmp_path / "alone" / "paper" / "x", "--out", tmp_path / "b.html").exit_code == 0
    assert any("Not measured" in each for each in Read((tmp_path / "b.html").read_text(encoding="utf-8")).text)
