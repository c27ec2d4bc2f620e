"""The command `tickdeck`: one group, whose commands are loaded when they are used."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

import click

from toolkit.cli.groups import OptionsAnywhere
from toolkit.cli.output import CONTEXT_SETTINGS, say
from toolkit.cli.printable import say_error
from toolkit.cli.process import prepare, silence_output
from toolkit.errors import TickdeckError

__all__ = ["cli", "main"]

#: Command to the module and object that is it, in the order that the help lists them.
COMMANDS: Final = {
    "demo": "toolkit.cli.demo:demo",
    "record": "toolkit.cli.record:record",
    "follow": "toolkit.cli.follow:follow",
    "import": "toolkit.cli.import_:import_",
    "info": "toolkit.cli.info:info",
    "replay": "toolkit.cli.replay:replay",
    "serve": "toolkit.cli.serve:serve",
    "ctl": "toolkit.cli.ctl:ctl",
    "verify": "toolkit.cli.verify:verify",
    "gaps": "toolkit.cli.gaps:gaps",
    "recover": "toolkit.cli.recover:recover",
    "ls": "toolkit.cli.care:ls",
    "renormalize": "toolkit.cli.care:renormalize",
    "compact": "toolkit.cli.care:compact",
    "prune": "toolkit.cli.care:prune",
    "analyze": "toolkit.cli.analyze:analyze",
    "sql": "toolkit.cli.sql:sql",
}


class LazyGroup(OptionsAnywhere):
    """Commands are imported only when one is called or its help is shown: `--help` should not load a database."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module, _, name = place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings=CONTEXT_SETTINGS)
@click.version_option(package_name="tickdeck", prog_name="tickdeck")
def cli() -> None:
    """Record live crypto markets, replay them through the same code, and analyse their spreads."""


def main(argv: list[str] | None = None) -> Any:
    """Run the command; errors of ours are one line on stderr and exit status 1 (or what the error says)."""
    prepare()
    try:
        status = cli.main(args=argv, prog_name="tickdeck", standalone_mode=False)
    except click.exceptions.Exit as exc:
        status = exc.exit_code
    except click.Abort:
        say("Aborted.", err=True)
        status = 130
    except click.ClickException as exc:
        say_error(_said(exc))
        status = exc.exit_code
    except TickdeckError as exc:
        say_error(str(exc))
        status = 1
    except MemoryError:
        say_error("there is not enough memory for this; nothing that was on disk is lost")
        status = 1
    except BrokenPipeError:
        # Whoever read our output has seen enough (`| head`).
        silence_output()
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


def _said(exc: click.ClickException) -> str:
    """What a wrong command line is told: one line like every error, with where to look."""
    text = " ".join(exc.format_message().split())
    if isinstance(exc, click.UsageError) and exc.ctx is not None:
        text = f"{text.removesuffix('.')}. See `{exc.ctx.command_path} --help`."
    return text
