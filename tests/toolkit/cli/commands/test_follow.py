"""`tickdeck record --tee-port` and `tickdeck follow`, each in a process of its own, from the embedded venue in another."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pytest

from recordings.care.verifying import verify
from recordings.format.manifest import read_manifest
from tests.tapes import TS, bbo_frame, collector_line, import_files
from tests.toolkit.cli.terminal import only_error, run
from toolkit.cli.options.record_config import read_config

PROGRAM = [sys.executable, "-c", "from toolkit.cli.main import main; main()"]


@pytest.fixture(scope="module")
def venue() -> Iterator[dict[str, Any]]:
    """URLs of an embedded venue."""
    command = [sys.executable, "-m", "replay.embedded", "--port", "0", "--seed", "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()


@contextmanager
def tickdeck(*args: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command at work; it is killed if the test leaves it behind."""
    command = [*PROGRAM, *map(str, args)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def recording(venue: dict[str, Any], folder: Path) -> list[str | Path]:
    urls = ["--ws-url", venue["ws_url"], "--rest-url", venue["rest_url"], "--keep-free-mib", "0"]
    return [
        "record",
        "hyperliquid",
        "BTC-USD",
        "-o",
        folder,
        "--tee-port",
        "0",
        "--rotate",
        "1s",
        "--flush",
        "50ms",
        *urls,
    ]


def wait_for(stream: IO[str] | None, text: str) -> str:
    """Read lines until one has the text, and return it."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError(f"no {text!r} in {lines}")


def read(process: subprocess.Popen[str], count: int) -> list[str]:
    """So many lines of what it prints, or all that is left if it ends before."""
    assert process.stdout is not None
    return list(islice(process.stdout, count))


class Lines:
    """What a process prints, read as it comes: one that is not read would wait for it, and say nothing on its other pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._stream = process.stdout
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        for line in self._stream:
            self._lines.put(line)
        self._lines.put(None)

    def take(self, count: int | None = None) -> list[str]:
        """So many lines, or all that is left if it ends before."""
        taken: list[str] = []
        while count is None or len(taken) < count:
            line = self._lines.get()
            if line is None:
                break
            taken.append(line)
        return taken


def test_a_follower_sees_the_whole_recording_though_its_recorder_is_killed_and_comes_back(
    venue: dict[str, Any], tmp_path: Path
) -> None:
    """Line for line what a replay prints; and one that began at its present ends when it is told to."""
    folder = tmp_path / "tape"
    with tickdeck(*recording(venue, folder)) as recorder:
        url = wait_for(recorder.stderr, "tee on ").split()[-1]
        assert json.loads((folder / "tee.json").read_bytes())["url"] == url
        wait_for(recorder.stderr, "role=main")
        with tickdeck("follow", folder, "--print") as follower:
            printed = Lines(follower)
            lines = printed.take(20)
            wait_for(follower.stderr, "live from frame ")
            recorder.kill()
            wait_for(follower.stderr, "no tee: ")
            assert (folder / "tee.json").exists()
            with tickdeck(*recording(venue, folder)) as second:
                wait_for(second.stderr, "recovered ")
                wait_for(follower.stderr, "live from frame ")
                with tickdeck("follow", folder, "--from", "now", "--channel", "trades", "--json") as late:
                    wait_for(late.stderr, "live from frame ")
                    lines += printed.take(40)
                    late.send_signal(signal.SIGINT)
                    values = json.loads("".join(read(late, 100)))
                assert late.wait() == 0
                assert (values["status"], values["digest"], values["equal"]) == ("running", None, None)
                assert values["handovers"] == 1
                second.send_signal(signal.SIGINT)
                lines += printed.take()
                assert second.wait() == 0
            assert follower.wait() == 0
            wait_for(follower.stderr, "equal to the recorded one")
    assert not (folder / "tee.json").exists()
    assert verify(folder).problems == []
    assert "".join(lines) == run("replay", folder, "--fidelity", "raw", "--print").stdout
    assert len(read_manifest(folder).segments) > 1


@pytest.mark.parametrize("instant", ["journal-batch-made:15", "journal-batch-written:15"])
def test_a_recorder_that_dies_over_a_batch_leaves_no_follower_ahead_or_behind(
    venue: dict[str, Any], tmp_path: Path, instant: str
) -> None:
    """Before the batch is in the file, or after it but before anybody was told; then the recording is healed."""
    folder = tmp_path / "tape"
    with tickdeck(*recording(venue, folder), TICKDECK_DIE_AT=instant) as recorder:
        wait_for(recorder.stderr, "tee on ")
        with tickdeck("follow", folder, "--print") as follower:
            assert recorder.wait() == -signal.SIGKILL
            assert run("recover", folder).exit_code == 0
            lines = read(follower, 1_000_000)
            assert follower.wait() == 0
            wait_for(follower.stderr, "equal to the recorded one")
    assert read_manifest(folder).status == "recovered"
    assert "".join(lines) == run("replay", folder, "--fidelity", "raw", "--print").stdout
    assert any('"kind":"lost"' in line for line in lines)


def test_clients_that_misbehave_do_not_disturb_a_recorder(venue: dict[str, Any], tmp_path: Path) -> None:
    """One is stopped in its tracks, one is killed, one breaks off: the recording is whole and sound."""
    folder = tmp_path / "tape"
    with tickdeck(*recording(venue, folder)) as recorder:
        wait_for(recorder.stderr, "role=main")
        with tickdeck("follow", folder) as stuck, tickdeck("follow", folder) as killed:
            for follower in (stuck, killed):
                wait_for(follower.stderr, "live from frame ")
            stuck.send_signal(signal.SIGSTOP)
            killed.kill()
            with tickdeck("follow", folder, "--print") as broken_off:
                assert len(read(broken_off, 10)) == 10
                assert broken_off.stdout is not None
                broken_off.stdout.close()
                broken_off.wait()
                assert broken_off.stderr is not None
                assert "Traceback" not in broken_off.stderr.read()
            recorder.send_signal(signal.SIGINT)
            assert recorder.wait() == 0
    assert verify(folder).problems == []


def test_a_finished_recording_is_followed_like_a_replay(tmp_path: Path) -> None:
    import_files(tmp_path / "tape", b"".join(collector_line(TS + number, bbo_frame("BTC", 5)) for number in range(3)))
    done = run("follow", tmp_path / "tape")
    assert (done.exit_code, done.stdout) == (0, run("follow", tmp_path / "tape").stdout)
    assert done.stdout.startswith(
        "3 messages up to frame 2: 3 frames from the folder, 0 from the recorder, 0 hand-overs\n"
    )
    assert done.stdout.endswith(", equal to the recorded one\n")
    values = json.loads(run("follow", tmp_path / "tape", "--json").stdout)
    assert (values["messages"], values["equal"], values["recorded_digest"]) == (3, True, values["digest"])
    printed = run("follow", tmp_path / "tape", "--print", "--pair", "BTC-USD").stdout
    assert printed == run("replay", tmp_path / "tape", "--print").stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--from", "yesterday"), "Invalid value for '--from': 'yesterday' is no time; expected "),
        (("--pair", "NOPE-USD"), "'NOPE-USD' is not in "),
        (("--channel", "nope"), "unknown channel 'nope', expected one of "),
    ],
)
def test_what_makes_no_sense_is_one_line(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    import_files(tmp_path / "tape", collector_line(TS, bbo_frame("BTC", 5)))
    assert only_error(run("follow", tmp_path / "tape", *args)).startswith(message)
    assert only_error(run("follow", tmp_path / "nothing")).endswith("expected a folder made by record or import")


def test_a_tee_port_that_is_taken_is_one_line_and_leaves_no_folder(venue: dict[str, Any], tmp_path: Path) -> None:
    command = recording(venue, tmp_path / "tape")
    command[command.index("--tee-port") + 1] = str(venue["ws_url"].rsplit(":", 1)[1].split("/")[0])
    done = run(*command)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("Error: the tee cannot be served on port ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "tape").exists()


def test_a_file_of_settings_may_name_the_tee(tmp_path: Path) -> None:
    (tmp_path / "record.toml").write_text(
        'tee_port = 9200\ntee_host = "0.0.0.0"\n[[venue]]\nname = "hyperliquid"\npairs = ["BTC-USD"]\n'
    )
    config = read_config(tmp_path / "record.toml")
    assert (config.values["tee_port"], config.values["tee_host"]) == (9200, "0.0.0.0")
    (tmp_path / "record.toml").write_text('tee_port = "x"\n[[venue]]\nname = "hyperliquid"\npairs = ["BTC-USD"]\n')
    done = run("record", "--config", tmp_path / "record.toml")
    assert only_error(done).endswith('record.toml:1: tee_port is "x", expected a whole number, 0 to 65535')
    assert [path.name for path in tmp_path.iterdir()] == ["record.toml"]
