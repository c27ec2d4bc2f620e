"""The same through the command line: each command in a process of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.deadlines import HANG_S
from tests.flips.readers import REFUSED, Reader

#: What each command is called with; `{}` is the recording.
COMMANDS = {
    "replay --fidelity raw": ("replay", "{}", "--fidelity", "raw", "--print"),
    "replay": ("replay", "{}", "--print"),
    "gaps": ("gaps", "{}", "--json"),
    "sql": ("sql", "{}", "SELECT * FROM fills ORDER BY ALL", "--format", "csv"),
    "analyze spreads": ("analyze", "spreads", "{}", "--json"),
    "analyze orders": ("analyze", "orders", "{}", "--json"),
    "analyze pnl": ("analyze", "pnl", "{}", "--json"),
    "info": ("info", "{}", "--json"),
    "ls": ("ls", "{}", "--format", "csv"),
    "serve": ("serve", "{}", "--no-wait", "--exit", "--speed", "max", "--json"),
}
#: Asked of every flip; of the others one in turn, since each starts a process.
ALWAYS = {"verify": ("verify", "{}", "--json")}


def spawn(folder: Path, arguments: tuple[str, ...]) -> object:
    """What a command prints, or `REFUSED`; whatever is more than a line of an error is raised."""
    command = [sys.executable, "-m", "toolkit.cli", *(argument.format(folder) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False, env=dict(os.environ))
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("Warning", "note"))]
    if "Traceback" in done.stderr or done.returncode not in (0, 1, 2, 3):
        raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {lines[-1:] or done.stdout[-200:]}")
    if arguments[0] == "verify" and done.returncode in (1, 2):
        return REFUSED
    if any(line.startswith("Error: ") for line in lines):
        if len(lines) > 1 or done.returncode == 0:
            raise RuntimeError(f"{arguments[0]} says more than a line: {lines}")
        return REFUSED
    if arguments[0] == "ls" and "is damaged (" in done.stdout:
        return REFUSED
    return [line for line in done.stdout.splitlines() if '"url"' not in line and "ws://" not in line]


def _reader(arguments: tuple[str, ...]) -> Callable[[Path], object]:
    return lambda folder: spawn(folder, arguments)


class _InTurn:
    """One of the commands at each call, once every one has said what it says of the sound recording."""

    def __init__(self) -> None:
        self._sound: dict[str, object] = {}
        self._turn = itertools.cycle(COMMANDS)

    def __call__(self, folder: Path) -> object:
        if not self._sound:
            self._sound = {name: spawn(folder, arguments) for name, arguments in COMMANDS.items()}
            return "as before"
        name = next(self._turn)
        answer = spawn(folder, COMMANDS[name])
        if answer == REFUSED:
            return REFUSED
        return "as before" if answer == self._sound[name] else (name, answer)


READERS: dict[str, Reader] = {"verify": _reader(ALWAYS["verify"]), "one of the others": _InTurn()}
