"""Running `tickdeck` as its users do, in this process or in one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner, Result

from tests.deadlines import HANG_S
from toolkit.cli.main import main


def run(*args: str | Path, stdin: str | None = None) -> Result:
    """In this process, with the program's own handling of errors; an error that is not ours is raised."""

    @click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []}, add_help_option=False)
    @click.argument("args", nargs=-1, type=click.UNPROCESSED)
    def tickdeck(args: tuple[str, ...]) -> None:
        main(list(args))

    done = CliRunner().invoke(tickdeck, [str(arg) for arg in args], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def spawn(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    command = [sys.executable, "-c", "from toolkit.cli.main import main; main()", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=HANG_S, check=False)


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, each with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


def only_error(done: Result) -> str:
    """The one line of an error; nothing else may have been printed."""
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    assert done.exit_code != 0
    return lines[0].removeprefix("Error: ")
