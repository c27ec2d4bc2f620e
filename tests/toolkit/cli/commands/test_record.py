"""`tickdeck record`, in a process of its own, from the embedded venue in another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recordings.care.verifying import verify
from tests.deadlines import HANG_S
from tests.embedded_recording import until_heard
from tests.toolkit.cli.terminal import run, spawn


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, Any]]:
    """URLs of an embedded venue."""
    command = [sys.executable, "-m", "replay.embedded", "--port", "0", "--seed", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()


def urls(venue: dict[str, Any]) -> list[str]:
    return ["--ws-url", venue["ws_url"], "--rest-url", venue["rest_url"], "--keep-free-mib", "0"]


def test_a_session_is_recorded_for_as_long_as_told(venue: dict[str, Any], tmp_path: Path) -> None:
    """It ends by itself: with how much, depends on the machine. Results to stdout, the log to stderr."""
    done = spawn(
        "record", "hyperliquid", "BTC-USD", "@107", "-d", "1s", "-o", tmp_path / "tape", "--json", *urls(venue)
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["status"], values["origin"]) == ("sealed", "live")
    assert values["digest"] == values["live_digest"]
    assert "recording Hyperliquid BTC-USD @107 into " in done.stderr
    assert verify(tmp_path / "tape").problems == []


def test_without_a_folder_it_is_named_by_venue_and_start(venue: dict[str, Any], tmp_path: Path) -> None:
    done = spawn("record", "hyperliquid", "BTC-USD", "-d", "500ms", "--json", *urls(venue), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "tapes").iterdir()
    name, _, stamp = folder.name.partition("-")
    assert (name, len(stamp), stamp[-1]) == ("hyperliquid", 16, "Z")


def test_an_interrupt_ends_it_in_good_order(venue: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "tape"
    program = "from toolkit.cli.main import main; main()"
    command = [sys.executable, "-c", program, "record", "hyperliquid", "BTC-USD", "@107", "--json", "-o", str(folder)]
    with subprocess.Popen(
        [*command, *urls(venue)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "connected" in line:
                break
        until_heard(folder, process, "BTC-USD", "HYPE-USDC")
        process.send_signal(signal.SIGINT)
        said, rest = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, rest
    values = json.loads(said)
    assert (values["status"], values["pairs"]) == ("sealed", ["BTC-USD", "HYPE-USDC"])
    assert values["digest"] == values["live_digest"]
    assert "stopping: closing the connections, then sealing" in rest
    assert verify(folder).problems == []


@pytest.mark.parametrize("pair", ["NOPE-USD", "btc-usd"])
def test_an_unknown_coin_is_one_line_and_leaves_no_folder(venue: dict[str, Any], tmp_path: Path, pair: str) -> None:
    done = spawn("record", "hyperliquid", "BTC-USD", pair, "-o", tmp_path / "tape", *urls(venue))
    assert (done.returncode, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == done.stderr.splitlines()[-1:]
    assert f"the venue lists no '{pair}'" in errors[0]
    assert "did you mean" in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "tape").exists()


def test_a_port_that_nobody_listens_on_is_one_line_and_leaves_no_folder(tmp_path: Path) -> None:
    done = spawn(
        "record", "hyperliquid", "BTC-USD", "-o", tmp_path / "tape",
        "--ws-url", "ws://127.0.0.1:9/ws", "--rest-url", "http://127.0.0.1:9",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == done.stderr.splitlines()[-1:]
    assert "127.0.0.1:9" in errors[0]
    assert not (tmp_path / "tape").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere", "BTC-USD"), "unknown venue 'nowhere', expected one of "),
        (("hyperliquid", "BTC-USD", "--channel", "l2Book"), "unknown channel 'l2Book', expected one of full, fast"),
        (("hyperliquid", "BTC-USD", "--until", "2020-01-01"), "--until is in the past"),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    done = run(
        "record", *args, "--out", tmp_path / "tape", "--ws-url", "ws://127.0.0.1:9", "--rest-url", "http://127.0.0.1:9"
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert message in errors[0]
    assert (done.exit_code, done.stdout, len(errors)) == (1, "", 1)
    assert not (tmp_path / "tape").exists()


def test_without_a_pair_the_usage_is_shown() -> None:
    done = run("record")
    assert done.exit_code == 2
    assert "Missing argument" in done.stderr
