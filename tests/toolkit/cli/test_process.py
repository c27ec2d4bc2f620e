"""Recorders that are started by daemons, terminals and containers: closed streams, hangups, second signals."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from recordings.care.recovery import needs_recovery
from recordings.format.manifest import read_manifest
from tests.deadlines import HANG_S
from toolkit.cli import process as module

MAIN = (sys.executable, "-m", "toolkit.cli")


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, Any]]:
    """URLs of an embedded venue."""
    command = [sys.executable, "-m", "replay.embedded", "--port", "0", "--seed", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()


def record(venue: dict[str, Any], folder: Path, *options: str) -> list[str]:
    urls = ("--ws-url", venue["ws_url"], "--rest-url", venue["rest_url"], "--keep-free-mib", "0")
    return [*MAIN, "record", "hyperliquid", "BTC-USD", "-o", str(folder), *urls, *options]


def interrupted(command: Sequence[str], *numbers: signal.Signals, before: str = "") -> tuple[int, str]:
    """Its status and what it said, when it got these signals once it was connected."""
    shell = ["sh", "-c", f'{before} exec "$@"', "sh", *command] if before else list(command)
    with subprocess.Popen(shell, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " connected " in line:
                break
        for number in numbers:
            process.send_signal(number)
        _, said = process.communicate(timeout=HANG_S)
        return process.returncode, said


def test_a_terminal_that_is_closed_ends_it_in_good_order(venue: dict[str, Any], tmp_path: Path) -> None:
    status, said = interrupted(record(venue, tmp_path / "tape"), signal.SIGHUP)
    assert (status, "stopping: " in said) == (0, True)
    assert read_manifest(tmp_path / "tape").status == "sealed"


@pytest.mark.slow
def test_a_terminal_that_is_closed_is_nothing_where_hangups_are_ignored(venue: dict[str, Any], tmp_path: Path) -> None:
    """`nohup tickdeck record`."""
    command = record(venue, tmp_path / "tape", "-d", "1s")
    status, said = interrupted(command, signal.SIGHUP, before="trap '' HUP;")
    assert (status, "stopping: " in said) == (0, False)
    assert read_manifest(tmp_path / "tape").status == "sealed"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_second_signal_ends_it_as_that_signal_does(
    venue: dict[str, Any], tmp_path: Path, number: signal.Signals
) -> None:
    """Whoever started it sees by what it ended; the journal is left for `recover`."""
    command = record(venue, tmp_path / "tape")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " connected " in line:
                break
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGSTOP)  # so that sealing takes long
        try:
            process.send_signal(number)
            for line in process.stderr:
                if "stopping: " in line:
                    break
            process.send_signal(number)
            process.wait(HANG_S)
        finally:
            os.kill(int(child), signal.SIGCONT)  # it holds the other end of what is read
        _, said = process.communicate(timeout=HANG_S)
    assert process.returncode == -number
    assert "leaving at once" in said
    assert needs_recovery(tmp_path / "tape")


@pytest.mark.parametrize("closed", ["2>&-", pytest.param("0<&- 1>&- 2>&-", marks=pytest.mark.slow)])
def test_it_records_without_standard_streams(venue: dict[str, Any], tmp_path: Path, closed: str) -> None:
    """A daemon may have closed them; no file of the recording gets their numbers."""
    shell = f'exec "$@" {closed}'
    done = subprocess.run(["sh", "-c", shell, "sh", *record(venue, tmp_path / "tape", "-d", "300ms")], check=False)
    assert done.returncode == 0
    assert read_manifest(tmp_path / "tape").status == "sealed"


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_it_records_where_nothing_can_be_locked_or_synced(venue: dict[str, Any], tmp_path: Path, code: int) -> None:
    """A network share: said once, and everything is recorded, sealed, recovered and continued as elsewhere."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import fcntl, os\ndef no(*_):\n    raise OSError({code}, os.strerror({code}))\nfcntl.flock = os.fsync = no\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def run(*command: str) -> str:
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stderr

    for _ in range(2):
        said = run(*record(venue, tmp_path / "tape", "-d", "1200ms", "--rotate", "500ms", "--fsync", "always"))
        assert said.count("has no locks: a second writer is recognized by the process that recording.lock names") == 1
        assert said.count("cannot sync: what a power cut costs is up to it, --fsync always or not") == 1
    with subprocess.Popen(
        record(venue, tmp_path / "tape"), env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " connected " in line:
                break
        process.kill()
    run(*MAIN, "recover", str(tmp_path / "tape"))
    run(*MAIN, "verify", str(tmp_path / "tape"))


@pytest.mark.slow
def test_a_summary_that_cannot_be_printed_fails_no_recording(venue: dict[str, Any], tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" > /dev/full', "sh", *record(venue, tmp_path / "tape", "-d", "300ms", "--json")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].endswith("is sealed; its summary cannot be printed (No space left on device)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_leaving_does_not_depend_on_dispositions(number: signal.Signals) -> None:
    """Where the kernel does not carry the signal out, as for the first process of a container."""
    program = (
        "import signal, sys; from toolkit.cli import process\n"
        "signal.raise_signal = lambda number: None\n"
        f"process.leave_at_once({int(number)})\n"
        "print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (128 + number, b"")


def test_the_first_process_of_a_container_can_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands without a handler of their own are given one."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for number in before:
            signal.signal(number, signal.SIG_DFL)
        monkeypatch.setattr("toolkit.cli.process.os.getpid", lambda: 1)
        module.prepare()
        assert all(callable(signal.getsignal(number)) for number in before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
