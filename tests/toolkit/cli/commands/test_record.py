"""`tickdeck record` from the embedded venue in another process; in one of its own where signals or its folder matter."""

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
from tests.toolkit.cli.terminal import only_error, run
from tests.venue_tapes import tape_of_venues


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
    done = run("record", "hyperliquid", "BTC-USD", "@107", "-d", "1s", "-o", tmp_path / "tape", "--json", *urls(venue))
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["status"], values["origin"]) == ("sealed", "live")
    assert values["digest"] == values["live_digest"]
    assert "recording Hyperliquid BTC-USD @107 into " in done.stderr
    assert verify(tmp_path / "tape").problems == []


def test_without_a_folder_it_is_named_by_venue_and_start(
    venue: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("record", "hyperliquid", "BTC-USD", "-d", "500ms", "--json", *urls(venue))
    assert done.exit_code == 0, done.stderr
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


def test_a_file_of_the_users_beside_it_does_not_keep_it_from_sealing(venue: dict[str, Any], tmp_path: Path) -> None:
    """The command does not look for modules where it is started, and neither does the process that seals."""
    (tmp_path / "recordings.py").write_text("raise SystemExit('not ours')\n")
    program = "from tickdeck.__main__ import main; main()"
    words = ["record", "hyperliquid", "BTC-USD", "-d", "300ms", "-o", "tape", "--json", *urls(venue)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "sealed"
    assert "seal" not in done.stderr


@pytest.mark.parametrize("pair", ["NOPE-USD", "btc-usd"])
def test_an_unknown_coin_is_one_line_and_leaves_no_folder(venue: dict[str, Any], tmp_path: Path, pair: str) -> None:
    done = run("record", "hyperliquid", "BTC-USD", pair, "-o", tmp_path / "tape", *urls(venue))
    assert (done.exit_code, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == done.stderr.splitlines()[-1:]
    assert f"the venue lists no '{pair}'" in errors[0]
    assert "did you mean" in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "tape").exists()


def test_a_port_that_nobody_listens_on_is_one_line_and_leaves_no_folder(tmp_path: Path) -> None:
    done = run(
        "record", "hyperliquid", "BTC-USD", "-o", tmp_path / "tape",
        "--ws-url", "ws://127.0.0.1:9/ws", "--rest-url", "http://127.0.0.1:9",
    )  # fmt: skip
    assert (done.exit_code, done.stdout) == (1, "")
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert errors == done.stderr.splitlines()[-1:]
    assert "127.0.0.1:9" in errors[0]
    assert not (tmp_path / "tape").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere", "BTC-USD"), "unknown venue 'nowhere', expected one of "),
        (("hyperliquid", "BTC-USD", "--channel", "l2Book"), "unknown channel 'l2Book', expected one of full, fast"),
        (
            ("hyperliquid", "BTC-USD", "--until", "2020-01-01T05:00+02:00"),
            "--until is 2020-01-01T03:00:00.000000000Z, which is in the past: it is 20",
        ),
        (("binance-spot", "BTC-USDT", "--user", "0x1"), "binance-spot: '0x1' was named, and of this venue the market"),
        (("binance-coinm", "BTC-USD", "--user", "0x1"), "binance-coinm: '0x1' was named, and of this venue the market"),
        (("hyperliquid", "BTC-USD", "--ca-file", "/none.pem"), "/none.pem cannot be read: No such file or directory"),
        (("hyperliquid", "BTC-USD", "--pseudonyms", "/none/key"), "/none/key cannot hold a key: /none is no folder"),
        (("hyperliquid", "BTC-USD", "--tee-port", "0", "--allow-host", "a/b"), "'a/b' is no name of a host"),
    ],
)
@pytest.mark.parametrize("trial", [(), ("--print-config",)])
def test_what_makes_no_sense_is_one_line(
    tmp_path: Path, args: tuple[str, ...], message: str, trial: tuple[str, ...]
) -> None:
    """Nothing says that it records before; and what is refused is not printed as what is in force."""
    urls = ("--ws-url", "ws://127.0.0.1:9", "--rest-url", "http://127.0.0.1:9")
    done = run("record", *args, "--out", tmp_path / "tape", *urls, *trial)
    assert message in only_error(done)
    assert done.exit_code == 1
    assert not (tmp_path / "tape").exists()


@pytest.mark.parametrize("trial", [(), ("--print-config",)])
def test_a_folder_that_is_unfit_is_one_line_and_stays_as_it_is(tmp_path: Path, trial: tuple[str, ...]) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    tape = tape_of_venues(tmp_path / "tape", ("hyperliquid",))
    for folder, message in (
        (tmp_path / "papers", f"{tmp_path}/papers is not empty and not a recording: name another folder"),
        (tmp_path / "file" / "tape", f"{tmp_path}/file/tape cannot be written: {tmp_path}/file is no folder"),
        (tape.path, f"{tape.path} was recorded with pairs "),
    ):
        done = run("record", "hyperliquid", "DOGE-USD", "--out", folder, "--ws-url", "ws://127.0.0.1:9", *trial)
        assert only_error(done).startswith(message)
    assert [path.name for path in (tmp_path / "papers").iterdir()] == ["notes.txt"]


def test_a_trial_makes_no_key_and_no_folder(tmp_path: Path) -> None:
    names = {"--pseudonyms": tmp_path / "key.txt", "--out": tmp_path / "new" / "tape"}
    done = run("record", "hyperliquid", "BTC-USD", *(word for pair in names.items() for word in pair), "--print-config")
    assert (done.exit_code, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wait", [(), ("--wait",)])
def test_what_is_refused_or_not_reached_is_never_said_to_be_recorded(
    venue: dict[str, Any], tmp_path: Path, wait: tuple[str, ...]
) -> None:
    """An unknown coin, and a venue that does not answer while there is time."""
    refused = run("record", "hyperliquid", "NOPE-USD", "-o", tmp_path / "tape", *urls(venue))
    nowhere = ["--ws-url", "ws://127.0.0.1:9/ws", "--rest-url", "http://127.0.0.1:9", "-d", "100ms"]
    late = run("record", "hyperliquid", "BTC-USD", "-o", tmp_path / "late", *nowhere, *wait)
    for done in (refused, late):
        assert "recording Hyperliquid" not in done.stderr
    assert late.exit_code == 0
    assert "nothing of hyperliquid was recorded: it was not reached before the end" in late.stderr


def test_without_a_pair_the_usage_is_shown() -> None:
    done = run("record")
    assert done.exit_code == 2
    assert "Missing argument" in done.stderr
