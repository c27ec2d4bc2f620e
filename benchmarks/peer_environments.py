"""
Where other systems live and how a job is run there: an environment for each in `.bench-venv`, made on the first run.

What cannot be installed or does not run is None, with a line that says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import ROOT, leave_out

__all__ = ["PeerFailed", "peer_environment", "peer_job", "peer_turns"]

ENVIRONMENT: Final = ROOT / ".bench-venv"
_TIMEOUT_S: Final = 1800


def peer_job(python: Path, job: str, path: Path, repeats: int) -> dict[str, Any] | None:
    """What another system needed for a job: `count`, `seconds` of each run, `version`; None, and a line, if it fails."""
    try:
        done = subprocess.run(
            [python, "-m", "benchmarks.peer_jobs", job, str(path), str(max(repeats, 1))],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        leave_out(f"  peers: {job} is left out: not done within {_TIMEOUT_S} s")
    except subprocess.CalledProcessError as exc:
        last = (exc.stderr.strip().splitlines() or ["no message"])[-1]
        leave_out(f"  peers: {job} is left out: {last}")
    else:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result
    return None


class PeerFailed(Exception):
    """Another system has ended; its last line says why."""


@contextmanager
def peer_turns(python: Path, job: str, path: Path) -> Iterator[tuple[str, Callable[[str], dict[str, Any]]]]:
    """
    Jobs of another system, ready and compiled, each of which is run when it is asked for: so that ours go between.

    Yields:
        Its version, and what runs a job by its name and gives the facts of that run.

    Raises PeerFailed where it ends before it has answered.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [python, "-m", "benchmarks.peer_turns", job, str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdin is not None, "it is a pipe"
        assert process.stdout is not None, "it is a pipe"
        asks, answers = process.stdin, process.stdout

        def answer() -> dict[str, Any]:
            line = answers.readline()
            if not line:
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                raise PeerFailed((lines or ["no message"])[-1])
            facts: dict[str, Any] = json.loads(line)
            return facts

        def turn(name: str) -> dict[str, Any]:
            with suppress(BrokenPipeError):  # it has ended, and says why
                asks.write(f"{name}\n")
                asks.flush()
            return answer()

        try:
            yield answer()["version"], turn
        finally:
            process.kill()
            with suppress(BrokenPipeError):
                asks.close()


def peer_environment(package: str) -> Path | None:
    """The interpreter that has that package, installed by name if need be; None, and a line, where that fails."""
    folder = ENVIRONMENT / package
    python = folder / "bin" / "python"
    installed = folder / ".installed"
    if installed.exists():
        return python
    steps: list[tuple[Callable[[], list[str]], str]] = [
        (lambda: [sys.executable, "-m", "venv", "--clear", str(folder)], "its environment cannot be made"),
        (
            lambda: [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, "msgspec"],
            "it cannot be installed",
        ),
    ]
    ENVIRONMENT.mkdir(exist_ok=True)
    (ENVIRONMENT / ".gitignore").write_text("*\n", encoding="utf-8")
    for command, failure in steps:
        done = subprocess.run(command(), capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            leave_out(f"  peers: {package} is left out: {failure} ({last})")
            return None
    installed.touch()
    return python
