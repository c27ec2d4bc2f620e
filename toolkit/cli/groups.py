"""Groups of commands: what is said before the name of a command counts as if it were said after it."""

from __future__ import annotations

import click

__all__ = ["OptionsAnywhere"]


class OptionsAnywhere(click.Group):
    """
    Takes the options of its commands before the command's name too: `tickdeck ctl --json status`.

    A word is the command's name if everything before it is options of the group or of that command, with their values.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for at, word in enumerate(args):
            command = None if word.startswith("-") else self.get_command(ctx, word)
            parts = self._parted(ctx, args[:at], command) if command is not None else None
            if parts is not None:
                own, others = parts
                args = [*own, word, *others, *args[at + 1 :]]
                break
        return super().parse_args(ctx, args)

    def _parted(
        self, ctx: click.Context, before: list[str], command: click.Command
    ) -> tuple[list[str], list[str]] | None:
        """The group's own options, and the command's; None if those words are not all options with their values."""
        own: list[str] = []
        others: list[str] = []
        rest = list(before)
        while rest:
            word = rest.pop(0)
            name, equals, _ = word.partition("=")
            mine = _option(self, ctx, name)
            option = mine if mine is not None else self._deeper(ctx, command, name)
            if option is None:
                return None
            words = [word]
            if not (option.is_flag or option.count or equals):
                if not rest:
                    return None
                words.append(rest.pop(0))
            (own if mine is not None else others).extend(words)
        return own, others

    def _deeper(self, ctx: click.Context, command: click.Command, name: str) -> click.Option | None:
        """An option of a command, or of one of the commands below it."""
        found = _option(command, ctx, name)
        if found is None and isinstance(command, click.Group):
            below = (command.get_command(ctx, each) for each in command.list_commands(ctx))
            found = next((deep for each in below if each and (deep := self._deeper(ctx, each, name))), None)
        return found


def _option(command: click.Command, ctx: click.Context, name: str) -> click.Option | None:
    options = (each for each in command.get_params(ctx) if isinstance(each, click.Option))
    return next((each for each in options if name in (*each.opts, *each.secondary_opts)), None)
