"""`tickdeck paper` and `tickdeck backtest STRATEGY`: what they print, what they leave, and one clear line for what makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recordings.recording import Recording
from tests.embedded_recording import embedded_venue
from tests.replay.paper.sessions import CHURNER
from tests.serving import synthetic_session
from tests.toolkit.cli.terminal import only_error, run

PAIR = ("--pair", "BTC-USD")


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recording, _ = synthetic_session(tmp_path_factory.mktemp("paper") / "tape", seconds=3)
    return recording.path


def test_a_paper_session_is_recorded_written_down_and_equal_to_its_backtest(tmp_path: Path) -> None:
    """The whole way by the commands, on real sockets; the result is a recording within the recording."""
    folder = tmp_path / "tape"
    with embedded_venue() as urls:
        given = ["--ws-url", urls["ws_url"], "--rest-url", urls["rest_url"], "--duration", "3s", "--out", folder]
        done = run("paper", CHURNER, "hyperliquid", "BTC-USD", *given, "--latency", "entry=20ms,response=20ms")
    assert done.exit_code == 0, done.stderr
    (log,) = (folder / "paper").glob("*.jsonl")
    assert f"result     {log.with_suffix('')}" in done.stdout
    assert Recording.open(log.with_suffix("")).manifest.origin == "paper"
    assert run("analyze", "orders", log.with_suffix(""), "--json").exit_code == 0
    assert run("verify", folder).exit_code == 0
    compared = run("backtest", CHURNER, folder, "--compare", "--json")
    facts = json.loads(compared.stdout)
    assert (compared.exit_code, facts["is_equal"], facts["settings"], facts["difference"]) == (0, True, [], None)
    seeded = run("backtest", CHURNER, folder, "--compare", "--json", "--seed", "9")
    assert (seeded.exit_code, json.loads(seeded.stdout)["settings"]) == (1, [["seed", "0", "9"]])


def test_a_venue_that_is_never_reached_leaves_no_folder(tmp_path: Path) -> None:
    """As of `tickdeck record`; a log of its SESSION_START alone would keep one there."""
    folder = tmp_path / "tape"
    nowhere = ["--ws-url", "ws://127.0.0.1:1", "--rest-url", "http://127.0.0.1:1"]
    done = run("paper", CHURNER, "hyperliquid", "BTC-USD", *nowhere, "--out", folder)
    assert done.exit_code == 1
    assert "connection refused" in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("mine.txt", "{tape}"),
            "the first argument is 'mine.txt', expected the file of a strategy (.py), or --script FILE",
        ),
        (("{churner}",), "Missing argument 'RECORDING...'"),
        (("none.py", "{tape}"), "strategy none.py cannot be read: No such file or directory"),
        (("{churner}", "{tape}", "--set", "lots"), "--set 'lots': expected NAME=VALUE"),
        (("{churner}", "{tape}", "--set", "lots=1", "--set", "lots=2"), "--set lots is given twice, as '1' and '2'"),
        (("{churner}", "{tape}", "--set", "lots=many"), "lots is 'many', expected a whole number"),
        (("{churner}", "{tape}", "--limit", "loss=x"), "limit loss is 'x', expected a number above 0"),
        (("{churner}", "{tape}", "--fees", "1bp"), "fees '1bp': '1bp' is not understood"),
        (("{churner}", "{tape}", "--capital", "5"), "capital '5' is not understood"),
        (("{churner}", "{tape}", "--clock", "venue"), "--clock venue is for --script"),
        (("{churner}", "{tape}", "--compare"), "holds no paper session: `tickdeck paper` records one"),
        (("{churner}", "{tape}", "{tape}", "--compare"), "2 recordings and --compare: a paper session is in one"),
        (("{churner}", "{tape}", "--compare", "--from", "2020-01-01"), "--from and --compare do not go together"),
        (("{churner}", "{tape}", "--script", "x.json"), "a strategy and --script are both given"),
        (("{tape}", "--script", "x.json", "--set", "a=1"), "--set is for strategies, and --script has none"),
    ],
)
def test_what_makes_no_sense_is_one_line(tape: Path, words: tuple[str, ...], message: str) -> None:
    spelled = [word.format(tape=tape, churner=CHURNER) for word in words]
    done = run("backtest", *spelled)
    assert done.exit_code in (1, 2)
    assert message in only_error(done)


def test_a_result_is_written_and_not_overwritten(tape: Path, tmp_path: Path) -> None:
    """A strategy that fails leaves an earlier result as it was."""
    out = tmp_path / "result"
    first = run("backtest", CHURNER, tape, *PAIR, "--out", out)
    assert first.exit_code == 0, first.stderr
    before = contents(out)
    again = run("backtest", CHURNER, tape, *PAIR, "--out", out)
    assert "already exists" in only_error(again)
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from tickdeck import Strategy\nclass B(Strategy):\n    def on_start(self, ctx):\n        1 / 0\n"
    )
    failed = run("backtest", broken, tape, *PAIR, "--out", out, "--replace")
    assert failed.exit_code == 1
    assert "broken.py:4: on_start: ZeroDivisionError: division by zero in `1 / 0`" in only_error(failed)
    assert contents(out) == before
    assert run("backtest", CHURNER, tape, *PAIR, "--out", out, "--replace").exit_code == 0
    assert contents(out) == before


def contents(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
