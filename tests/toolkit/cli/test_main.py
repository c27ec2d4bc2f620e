"""The command as a whole: help for everything, errors of one line, exit codes."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest

from tests.toolkit.cli.terminal import only_error, run, spawn, walk
from toolkit.cli.main import COMMANDS, cli
from toolkit.errors import TickdeckError

EVERY = list(walk(cli))


def test_every_command_is_there() -> None:
    """All that the issue names, and what has been added since."""
    named = {"record", "import", "info", "replay", "verify", "analyze", "sql", "demo", "gaps"}
    assert named <= set(COMMANDS) == {path[0] for path, _ in EVERY if len(path) == 1}
    assert {
        ("import", "collector"),
        ("import", "jsonl"),
        ("import", "hyperliquid-archive"),
        ("analyze", "spreads"),
    } <= {path for path, _ in EVERY}


@pytest.mark.parametrize(("path", "command"), EVERY[1:], ids=[" ".join(path) for path, _ in EVERY[1:]])
def test_every_command_has_help_that_ends_with_an_example_of_it(path: tuple[str, ...], command: click.Command) -> None:
    for option in ("--help", "-h"):
        done = run(*path, option)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout.startswith(f"Usage: tickdeck {' '.join(path)} ")
    end = done.stdout.rstrip().splitlines()[-1]
    assert "Example" in done.stdout
    assert end.strip().startswith(f"tickdeck {path[0]}"), end
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_the_help_lists_every_command_with_a_summary() -> None:
    text = run("--help").stdout
    for name in COMMANDS:
        assert any(line.split()[:1] == [name] and len(line.split()) > 3 for line in text.splitlines()), name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_all_says_what_a_commands_own_help_begins_with(name: str) -> None:
    """It stands in a table, so that no command is loaded for it."""
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    assert command.get_short_help_str(1000) == COMMANDS[name][1]


def test_the_version_is_the_packages() -> None:
    done = run("--version")
    assert done.stdout.startswith("tickdeck, version ")


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_help_loads_no_database(option: str) -> None:
    """Nor anything else that takes long, nor the commands, which take half of the time."""
    program = f"import sys; from toolkit.cli.main import main\ntry: main([{option!r}])\nexcept SystemExit: pass\n"
    heavy = ("duckdb", "polars", "pyarrow", "numba", "numpy", "aiohttp", "rich", "msgspec", "urllib.request", "asyncio")
    program += f"print([name for name in sys.modules if name in {heavy} or name.startswith('toolkit.cli.commands.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("nonsense",), "No such command 'nonsense'."),
        (("info",), "Missing argument 'RECORDING'."),
        (("replay", "x", "--fidelity", "exact"), "'exact' is not one of 'raw', 'normalized'."),
        (("import", "collector", "x", "--out", "y"), "Missing option '--venue'."),
        (("record", "hyperliquid", "BTC-USD", "--duration", "soon"), "'soon' is no duration; expected such as 250ms"),
        (("record", "hyperliquid", "BTC-USD", "--until", "soon"), "'soon' is no time; expected for instance 2024-"),
    ],
)
def test_bad_usage_exits_with_2_and_says_what_is_wrong(args: tuple[str, ...], text: str) -> None:
    done = run(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert text in line
    assert line.startswith("Error: ")
    assert "--help`" in line


def test_an_error_of_ours_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("recordings.recording")

    def fail(path: object) -> None:
        raise TickdeckError("what was found, expected, to do")

    monkeypatch.setattr(module.Recording, "open", fail)
    done = run("info", "x")
    assert (only_error(done), done.exit_code) == ("what was found, expected, to do", 1)


def test_the_program_itself_behaves_so() -> None:
    done = spawn("info", "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    expected = "nowhere is not a recording: no such folder; expected a folder made by record or import"
    assert done.stderr == f"Error: {expected}\n"
