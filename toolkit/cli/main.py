"""The command `tickdeck`: one group, whose commands are loaded when they are used."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import click

from toolkit.cli.groups import OptionsAnywhere
from toolkit.cli.output.printable import say_error
from toolkit.cli.output.results import CONTEXT_SETTINGS, say
from toolkit.cli.process import OutputFailed, prepare, silence_output
from toolkit.errors import TickdeckError

__all__ = ["cli", "main"]

#: What a shell sets when it asks for completions.
COMPLETION: Final = "_TICKDECK_COMPLETE"

#: Command to the module and object that is it, and what the help of all says of it, in the order that it lists them.
COMMANDS: Final = {
    "demo": (
        "toolkit.cli.commands.demo:demo",
        "Record a synthetic exchange on this machine with the live code, replay the recording both ways, compare the digests, analyse the spreads, and run a market maker on it.",
    ),
    "record": (
        "toolkit.cli.commands.record:record",
        "Record pairs of one or several venues until Ctrl-C, or for a given time.",
    ),
    "follow": (
        "toolkit.cli.commands.follow:follow",
        "Follow a recording in progress: catch up, then switch to the live feed.",
    ),
    "import": ("toolkit.cli.commands.import_:import_", "Make a recording out of capture files."),
    "info": (
        "toolkit.cli.commands.info:info",
        "Show what a recording holds: venues, pairs, time span, tables, gaps, digest.",
    ),
    "replay": (
        "toolkit.cli.commands.replay:replay",
        "Replay recordings and print what came out: messages, books, digest.",
    ),
    "backtest": (
        "toolkit.cli.commands.backtest:backtest",
        "Run a strategy on recordings, or replay a list of orders (--script) against a recorded market.",
    ),
    "paper": (
        "toolkit.cli.commands.paper:paper",
        "Run a strategy on live feeds and record them; its orders go to a simulated exchange and nowhere else.",
    ),
    "report": (
        "toolkit.cli.commands.report:report",
        "Write a report of a run, or of several beside each other: one page that loads nothing.",
    ),
    "serve": (
        "toolkit.cli.commands.serve:serve",
        "Serve recordings behind the venue's own interface: WebSocket and REST on one port of this machine.",
    ),
    "ctl": (
        "toolkit.cli.commands.ctl:ctl",
        "Control a running `tickdeck serve`; every command prints the status after it.",
    ),
    "verify": (
        "toolkit.cli.commands.verify:verify",
        "Check files, hashes, order and holes, and compare three digests: of the live session, of a replay of the raw frames and of a replay of the normalized rows.",
    ),
    "gaps": ("toolkit.cli.commands.gaps:gaps", "List the gaps of a recording."),
    "recover": ("toolkit.cli.commands.recover:recover", "Seal the journal of a recorder that crashed or was killed."),
    "ls": (
        "toolkit.cli.commands.care:ls",
        "List the recordings in a folder: venues, pairs, time span, gaps, size, status.",
    ),
    "renormalize": (
        "toolkit.cli.commands.care:renormalize",
        "Run today's protocol over the raw frames and remake the normalized tables.",
    ),
    "compact": ("toolkit.cli.commands.care:compact", "Join small segments into large ones."),
    "prune": ("toolkit.cli.commands.care:prune", "Remove old raw frames; the normalized tables stay."),
    "analyze": ("toolkit.cli.commands.analyze:analyze", "Measure what a recording says about its markets."),
    "sql": ("toolkit.cli.commands.sql:sql", "Query recordings with SQL, in DuckDB's dialect."),
}


class LazyGroup(OptionsAnywhere):
    """Commands are imported only when one is called or its own help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        room = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, click.Command(name, help=text).get_short_help_str(room))
                    for name, (_, text) in COMMANDS.items()
                ]
            )


@click.group(cls=LazyGroup, context_settings=CONTEXT_SETTINGS)
@click.version_option(package_name="tickdeck", prog_name="tickdeck")
def cli() -> None:
    """Record live crypto markets, replay them through the same code, and analyse their spreads."""


def main(argv: list[str] | None = None) -> Any:
    """
    Run the command; errors of ours are one line on stderr and exit status 1 (or what the error says).

    Wrong usage is 2, an interrupt 130, and standard output that its reader has closed 141, as in a shell.
    """
    prepare(owns_process=argv is None)
    if COMPLETION in os.environ:
        cli.main(args=argv, prog_name="tickdeck")
    status = _guarded(lambda: _invoke(sys.argv[1:] if argv is None else argv))
    # What is still in the buffer would otherwise fail when it can be reported no more.
    sys.exit(_guarded(sys.stdout.flush) or status)


def _invoke(args: list[str]) -> Any:
    with cli.make_context("tickdeck", list(args)) as context:
        return cli.invoke(context)


def _guarded(work: Callable[[], Any]) -> int:
    """Do it; the exit status, after a line about what went wrong."""
    try:
        status = work()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _failed("", 128 + signal.SIGINT)
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return exc.exit_code
    except click.ClickException as exc:
        return _failed(_said(exc), exc.exit_code)
    except OutputFailed as exc:
        silence_output()
        return _failed(str(exc), exc.status)
    except TickdeckError as exc:
        return _failed(str(exc), 1)
    except MemoryError:
        return _failed("there is not enough memory for this; nothing that was on disk is lost", 1)
    except OSError as exc:
        where = "" if exc.filename is None else f"{os.fsdecode(exc.filename)}: "
        return _failed(f"{where}{exc.strerror or exc}", 1)


def _failed(text: str, status: int) -> int:
    with suppress(OSError):
        if text:
            say_error(text)
        else:
            say("Aborted.", err=True)
    return status


def _said(exc: click.ClickException) -> str:
    """The error of a wrong command line: one line like every error, with where to look."""
    text = " ".join(exc.format_message().split())
    if isinstance(exc, click.UsageError) and exc.ctx is not None:
        text = f"{text.removesuffix('.')}. See `{exc.ctx.command_path} --help`."
    return text
