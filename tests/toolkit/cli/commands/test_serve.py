"""`tickdeck serve` and `tickdeck ctl`, in processes of their own."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from recordings.care.verifying import verify
from recordings.recording import Recording
from tests.deadlines import HANG_S
from tests.serving import synthetic_session
from tests.toolkit.cli.terminal import only_error, run, spawn
from toolkit.frames import CONTROL, WS_IN

PROGRAM = [sys.executable, "-c", "from toolkit.cli.main import main; main()"]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, str]:
    return synthetic_session(tmp_path_factory.mktemp("serve") / "tape", as_recorder=True)


@contextmanager
def served(*args: str | Path) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """A server, and where it says it is."""
    command = [*PROGRAM, "serve", *map(str, args), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline()), process
        finally:
            process.kill()


def ctl(url: str, *args: str) -> dict[str, Any]:
    done = run("ctl", "--url", url, "--json", *args)
    assert done.exit_code == 0, done.stderr
    status = json.loads(done.stdout)
    assert isinstance(status, dict)
    return status


def test_the_controls_move_the_tape(tape: tuple[Recording, str]) -> None:
    with served(tape[0].path, "--paused") as (facts, process):
        url = facts["url"]
        first = ctl(url, "status")
        assert (first["state"], first["speed"], first["position_ns"]) == ("waiting", "1x", facts["first_ns"])
        assert ctl(url, "step", "5")["frames"] == 5
        assert ctl(url, "seek", "+3s")["position_ns"] == facts["first_ns"] + 4_000_000 + 3_000_000_000
        assert ctl(url, "seek", "-1s")["position_ns"] == facts["first_ns"] + 4_000_000 + 2_000_000_000
        assert ctl(url, "speed", "max")["speed"] == "max"
        assert ctl(url, "resume")["state"] == "playing"
        while ctl(url, "status")["state"] != "ended":
            pass
        done = run("ctl", "--url", url, "status")
        assert done.stdout.startswith("ended at 2026-09-21T")
        assert ctl(url, "stop")["state"]
        assert process.wait(HANG_S) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(tape: tuple[Recording, str], number: int) -> None:
    with served(tape[0].path) as (_, process):
        process.send_signal(number)
        assert process.wait(HANG_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_it_may_end_with_the_tape(tape: tuple[Recording, str]) -> None:
    done = spawn("serve", tape[0].path, "--port", "0", "--no-wait", "--exit", "--speed", "max")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hyperliquid: ws://127.0.0.1:")
    assert "it has begun" in done.stderr


def test_the_recorder_records_a_served_recording(tape: tuple[Recording, str], tmp_path: Path) -> None:
    """On each connection the payloads of the original, byte for byte and in order, at many times its pace."""
    recording, user = tape
    with served(recording.path, "--speed", "20x", "--paused") as (facts, _):
        place = facts["venues"]["hyperliquid"]
        command = [*PROGRAM, "record", "hyperliquid", "BTC-USD", "ETH-USD", "--user", user, "--keep-free-mib", "0"]
        for channel in ("full", "bbo", "trades", "funding"):
            command += ["--channel", channel]
        command += ["--ws-url", place["ws_url"], "--rest-url", place["rest_url"], "-o", str(tmp_path / "again")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as recorder:
            try:
                while ctl(facts["url"], "status")["subscriptions"] < 16:
                    assert recorder.poll() is None, recorder.communicate()
                ctl(facts["url"], "resume")
                while ctl(facts["url"], "status")["state"] != "ended":
                    pass
                recorder.send_signal(signal.SIGINT)
                _, errors = recorder.communicate(timeout=HANG_S)
            finally:
                recorder.kill()
        assert recorder.returncode == 0, errors
    assert verify(tmp_path / "again").problems == []
    original = by_connection(recording)
    assert {role: len(payloads) > 5 for role, payloads in original.items()} == dict.fromkeys(original, True)
    assert by_connection(Recording.open(tmp_path / "again")) == original


def by_connection(recording: Recording) -> dict[str, list[bytes]]:
    """What the venue sent, less answers to the recorder, by the role of the connection."""
    roles: dict[int, str] = {}
    payloads: dict[str, list[bytes]] = {}
    for batch in recording.raw_frames():
        for frame in batch:
            if frame.kind == CONTROL and frame.conn_id >= 0:
                roles[frame.conn_id] = msgspec.json.decode(frame.payload)["role"]
            elif frame.kind == WS_IN and not frame.payload.startswith((b'{"channel":"subsc', b'{"channel":"pong"')):
                payloads.setdefault(roles[frame.conn_id], []).append(frame.payload)
    return payloads


def test_a_synthetic_market_takes_a_recordings_place(tmp_path: Path) -> None:
    with served("--synthetic", "--venue", "dydx_v4", "--seed", "3") as (facts, process):
        assert list(facts["venues"]) == ["dydx_v4"]
        assert "taker" in facts["accounts"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(HANG_S) == 0


# Errors ----------------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said(tape: tuple[Recording, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = only_error(run("serve", tape[0].path, "--port", str(port)))
        assert (
            error == f"127.0.0.1:{port} cannot be listened on: Address already in use; choose another with --port, or 0"
        )


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("serve", "{here}/none"), "{here}/none is not a recording"),
        (("serve", "{tape}", "--speed", "fast"), "'fast' is no speed"),
        (("serve", "{tape}", "--from", "noon"), "Invalid value for '--from': 'noon' is no time"),
        (("ctl", "--url", "http://127.0.0.1:1", "status"), "nothing answers at http://127.0.0.1:1/tickdeck/status"),
        (("ctl", "--url", "ftp://x", "status"), "'ftp://x/tickdeck/status' is no URL of that kind"),
    ],
)
def test_bad_input_is_one_line(tape: tuple[Recording, str], tmp_path: Path, args: tuple[str, ...], error: str) -> None:
    words = [word.format(here=tmp_path, tape=tape[0].path) for word in args]
    assert only_error(run(*words)).startswith(error.format(here=tmp_path))


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("serve",), "Missing argument 'RECORDING...' (or --synthetic)."),
        (("serve", "x", "--synthetic"), "a recording and --synthetic: expected one of them"),
        (("serve", "x", "--paused", "--no-wait"), "--paused and --no-wait: expected one of them"),
        (("serve", "--synthetic", "--speed", "2x"), "a synthetic market runs at its own pace"),
        (("serve", "x", "--seed", "3"), "--seed is of a synthetic market: expected --synthetic, or no seed"),
    ],
)
def test_options_that_contradict_each_other_are_refused(args: tuple[str, ...], error: str) -> None:
    done = run(*args)
    assert done.exit_code == 2
    assert error in done.stderr


def test_what_is_no_server_of_ours_is_said() -> None:
    with served("--synthetic") as (facts, _):
        url = facts["venues"]["hyperliquid"]["rest_url"]
        assert only_error(run("ctl", "--url", url, "status")).startswith(f"{url}/tickdeck/status answered HTTP 404")
