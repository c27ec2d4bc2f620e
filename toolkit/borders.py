r"""
The borders at which text from outside becomes something that is run, drawn or obeyed: one function for each of them.

Names, ids and messages of a venue, of a client and of a file system are kept exactly as they came: in frames, in messages,
in Parquet, in CSV and in JSON. They are spelled otherwise at these places only, once, at the very end:

| place | what could happen there | function |
|---|---|---|
| terminal, status line, table cell | colours, a moved cursor, text that runs backwards, a forged line | `printable` |
| log, error | the same, and a line without an end | `one_line` |
| prompt, notebook | the same | `Shown` |
| JSON that a terminal shows | the same; JSON has an escape for it, so the value stays exact | `shown_json` |
| text within a page | `<` begins an element, and a program | `html_text` |
| JSON within a page | `</script>` ends the program, and begins another one | `json_in_html` |
| picture | a character that no font and no XML has ends the process; a long name fills the picture | `label` |
| spreadsheet | a cell that begins with `=` is a formula | `spreadsheet_text` |
| SQL | a quote ends the name or the text | `sql_name`, `sql_text` |
| Prometheus' text format | a quote ends the label, a line break the sample | `metric_label` |

Paths need none: no name that comes from outside is ever part of one.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

__all__ = [
    "LABEL_MAX",
    "LINE_MAX",
    "Shown",
    "format_ns",
    "html_text",
    "json_in_html",
    "label",
    "metric_label",
    "one_line",
    "printable",
    "shown_json",
    "spreadsheet_text",
    "sql_name",
    "sql_text",
]

#: Characters of a label in a picture; a longer one is cut.
LABEL_MAX: Final = 60
#: Characters of a line of a log, or of an error; a longer one is cut.
LINE_MAX: Final = 4_000

_NOT_PLAIN: Final = re.compile(r"[^\x00-\x7e]+")
#: What a formula begins with, in the wide forms of East Asia too, or what a spreadsheet drops before it looks.
_FORMULA: Final = re.compile(r"[ ]*[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]")


class Shown:
    """Base of what people look at in a notebook: a line that says what it is, and public names to complete."""

    __slots__ = ()

    def _shown(self) -> str:
        """What the line says after the name of the class: facts that are at hand, nothing that has to be read first."""
        return ""

    def __repr__(self) -> str:
        return one_line(f"<{type(self).__name__} {self._shown()}".rstrip() + ">")

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]


def printable(text: str) -> str:
    r"""
    A line with everything that is no visible character written as its escape: `\n`, `\x1b`, `\u202e`.

    So are letters that run from right to left: beside them a terminal may show the numbers of a row in another order.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        each if _stands(each) else each.encode("unicode_escape", "backslashreplace").decode("ascii") for each in text
    )


def format_ns(ns: int) -> str:
    """ISO 8601 in UTC with all nine digits, for people: `2026-11-22T13:34:05.123456789Z`; ns where no calendar has it."""
    seconds, fraction = divmod(ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return f"{ns} ns" if abs(ns) < 10**30 else "a time without end"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def one_line(text: str) -> str:
    """A line of a log, or an error, that may quote anything: visible characters only, and of a length that can be read."""
    shown = printable(text[:LINE_MAX])
    if len(text) <= LINE_MAX and len(shown) <= LINE_MAX:
        return shown
    return f"{shown[:LINE_MAX]}... ({len(text):,} characters)"


def shown_json(text: str) -> str:
    r"""JSON text, whose value stays the same, with `\u` in place of what a terminal obeys: C1 controls, bidi, surrogates."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _NOT_PLAIN.sub(_json_escaped, text)


def html_text(text: str) -> str:
    """Text within an element of a page, its title say: visible characters only, and none that begins another element."""
    return html.escape(printable(text))


def json_in_html(value: Any) -> str:
    """A JSON value as text for the inside of a `<script>` of a page: nothing in it can end the script or a line of it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    # Within JSON these three occur in strings only.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def label(text: str) -> str:
    """Text in a picture: visible characters only, and not more than fit."""
    shown = printable(text[: LABEL_MAX + 1])
    return shown if len(shown) <= LABEL_MAX else f"{shown[: LABEL_MAX - 1]}…"


def spreadsheet_text(text: str) -> str:
    """A cell of text that no spreadsheet takes for a formula: with an apostrophe before it where one might."""
    return f"'{text}" if _FORMULA.match(text) else text


def sql_name(name: str) -> str:
    """A name in SQL, of a column, say."""
    return '"' + name.replace('"', '""') + '"'


def sql_text(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def metric_label(value: str) -> str:
    r"""The value of a label in Prometheus' text format, within quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _json_escaped(match: re.Match[str]) -> str:
    return "".join(each if _stands(each) else json.dumps(each)[1:-1] for each in match.group())


def _stands(each: str) -> bool:
    """Whether a character is visible, and leaves those beside it where they are."""
    return each.isprintable() and (each < "\u0590" or unicodedata.bidirectional(each) not in ("R", "AL"))
