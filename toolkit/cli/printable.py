"""The border to the terminal and the log: what a venue says cannot recolour them, move the cursor, or forge a line."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    r"""A line with everything that is no visible character written as its escape: `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "backslashreplace").decode("ascii")
        for each in text
    )
