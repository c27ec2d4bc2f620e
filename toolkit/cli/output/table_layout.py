"""
Rows laid out for people: within the width of a terminal, without a number, a time or a name ever broken.

Where there is not room for every column, headings are folded at their spaces first. Then a few rows are turned, so that
each column is a line; of many rows the least important columns are left out, and one line says which and how to see them.
Only free text is ever cut, at a boundary of words, with an ellipsis. Widths are those of the terminal's cells: a wide
character takes two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from toolkit.cli.output.printable import printable

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Table", "cell_width", "folded", "format_cell", "joined", "some"]

_GAP: Final = 2
#: Rows that are turned into columns where not all columns have room, at most.
_ROWS_TURNED: Final = 6
#: Cells that free text keeps when there is little room.
_TEXT_MIN: Final = 24
#: How to see what has no room.
_WAYS: Final = "--json or --csv has all, as has a terminal of {} columns"
_WAYS_SHORT: Final = "--json, or {} columns"
#: A sign of per cent stays with its number.
_BETWEEN_WORDS: Final = re.compile(r"(?<!%) (?!%)")
_WORD: Final = re.compile(r"[\w.:+\-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """
    A small frame and how it is to look.

    Attributes:
        frame: The rows; its names are the headings.
        title: A line above them.
        importance: Columns that stay longest when there is little room, the most important first. The others follow in
            their order, those without any value last.
        nothing: Line that is printed in place of a table without rows.
    """

    frame: pl.DataFrame
    title: str | None = None
    importance: Sequence[str] = ()
    nothing: str = "no rows"

    def lines(self, width: int | None = None, *, is_ascii: bool = False) -> Iterator[str]:
        """
        The table, a line at a time.

        Args:
            width: Cells that a line may take; None: as many as it needs.
            is_ascii: Draw with characters of ASCII only.
        """
        if self.frame.is_empty():
            yield from folded(self.nothing, width)
            return
        if self.title is not None:
            yield from folded(self.title, width)
        columns = _columns(self.frame, self.importance)
        if width is None or _total(columns) <= width:
            yield from _ruled(columns, is_ascii)
            return
        for column in columns:
            column.fold_heading()
        if _total(columns) <= width:
            yield from _ruled(columns, is_ascii)
            return
        needed = _total(columns)
        if self.frame.height == 1:
            yield from _facts(columns, width)
        elif self.frame.height <= _ROWS_TURNED and (turned := _turned(columns, width)) is not None:
            yield from _ruled(turned, is_ascii)
        else:
            kept = _fitting(columns, width, is_ascii)
            yield from _ruled(kept, is_ascii)
            yield _note(columns, kept, needed, width)


@dataclass(slots=True, kw_only=True)
class _Column:
    name: str
    cells: list[str]
    is_number: bool
    is_text: bool
    rank: int = 0
    heading: list[str] = field(default_factory=list)
    width: int = 0
    is_cut: bool = False

    def __post_init__(self) -> None:
        self.heading = self.heading or [self.name]
        self.measure()

    def measure(self) -> None:
        self.width = max(map(cell_width, (*self.heading, *self.cells)), default=0)

    def fold_heading(self) -> None:
        """Put the words of the heading below each other, as far as that makes the column narrower."""
        words = _BETWEEN_WORDS.split(self.name)
        self.heading = joined(words, max(map(cell_width, (*words, *self.cells))))
        self.measure()

    def least(self, width: int) -> int:
        """The narrowest that this column can be: only free text can be cut, and what is wider than the whole terminal."""
        is_prose = self.is_text and (self.width > width or any(" " in cell for cell in self.cells))
        return min(self.width, max(_TEXT_MIN, *map(cell_width, self.heading))) if is_prose else self.width

    def cut(self, width: int, ellipsis: str) -> _Column:
        """This column with no cell wider than that, which only free text allows."""
        cells = [_cut(cell, width, ellipsis) for cell in self.cells]
        return _Column(
            name=self.name,
            cells=cells,
            is_number=False,
            is_text=True,
            rank=self.rank,
            heading=self.heading,
            is_cut=cells != self.cells,
        )

    def padded(self, text: str) -> str:
        space = " " * (self.width - cell_width(text))
        return space + text if self.is_number else text + space


def format_cell(value: object) -> str:
    """
    One value as people read it.

    Numbers have ten significant digits, and all of those before the point; times are in full, a missing value is nothing.
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            value += 0.0  # -0 is 0 for people
            # Ten digits would round a volume of a hundred billion to thousands, without a word.
            text = f"{value:.10g}" if abs(value) < 1e10 else f"{value:.15g}"
            is_plain = "e" not in text or not 1e-12 < abs(value) < 1e15
            return text if is_plain else f"{Decimal(text):f}"
        case _:
            return str(value)


def cell_width(text: str) -> int:
    """Cells of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def folded(text: str, width: int | None, indent: str = "") -> list[str]:
    """
    A text in lines of that width, broken at spaces only: a word that is longer stays whole.

    Lines after the first begin with the indent.
    """
    if width is None or cell_width(text) <= width:
        return [text]
    return joined(text.split(" "), width, indent)


def joined(words: Sequence[str], width: int, indent: str = "") -> list[str]:
    """Words with spaces between them in lines of that width; lines after the first begin with the indent."""
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}" if lines[-1].strip() else lines[-1] + word
        if lines[-1].strip() and cell_width(longer) > width:
            longer = indent + word
            lines.append("")
        lines[-1] = longer
    return lines


def _columns(frame: pl.DataFrame, importance: Sequence[str]) -> list[_Column]:
    import polars as pl

    from toolkit.cli.output.results import textual

    order = {name: rank for rank, name in enumerate(importance)}
    columns = []
    for position, series in enumerate(textual(frame, tidy=False)):
        dtype = frame.schema[series.name]
        cells = [printable(format_cell(value)) for value in series.to_list()]
        if dtype == pl.Datetime:
            cells = _trimmed(cells)
        rank = order.get(series.name, len(order) + position)
        columns.append(
            _Column(
                name=printable(series.name),
                cells=cells,
                is_number=dtype.is_numeric(),
                is_text=dtype in (pl.String, pl.Binary) or dtype.is_nested(),
                rank=rank if any(cells) else rank + len(order) + len(frame.columns),
            )
        )
    return columns


def _trimmed(times: list[str]) -> list[str]:
    """Times to the places that at least one of them needs: s, ms, us or ns."""
    for places in (10, 6, 3):
        end = ("." if places == 10 else "") + "0" * min(places, 9) + "Z"
        if all(time.endswith(end) or not time for time in times):
            return [time[: -places - 1] + "Z" if time else "" for time in times]
    return times


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + _GAP * (len(columns) - 1)


def _ruled(columns: Sequence[_Column], is_ascii: bool) -> Iterator[str]:
    """Headings, a rule and the rows."""
    height = max(len(column.heading) for column in columns)
    gap = " " * _GAP
    for number in range(height):
        # Headings of fewer lines stand at the bottom, next to their values.
        parts = (([""] * (height - len(column.heading)) + column.heading)[number] for column in columns)
        yield gap.join(column.padded(part) for column, part in zip(columns, parts, strict=True)).rstrip()
    yield gap.join(("-" if is_ascii else "─") * column.width for column in columns)
    for row in zip(*(column.cells for column in columns), strict=True):
        yield gap.join(column.padded(cell) for column, cell in zip(columns, row, strict=True)).rstrip()


def _turned(columns: Sequence[_Column], width: int) -> list[_Column] | None:
    """The table with a line for each column and a column for each row; None where that has no room either."""
    first, *others = columns
    if not others:
        return None
    records = zip(*(column.cells for column in others), strict=True)
    heads = [_Column(name=first.name, cells=[column.name for column in others], is_number=False, is_text=False)]
    heads += [
        _Column(name=name, cells=list(cells), is_number=True, is_text=False)
        for name, cells in zip(first.cells, records, strict=True)
    ]
    return heads if _total(heads) <= width else None


def _facts(columns: Sequence[_Column], width: int) -> Iterator[str]:
    """The only row, a line or more for each column."""
    lead = max(cell_width(column.name) for column in columns) + _GAP
    for column in columns:
        (cell,) = column.cells
        head = column.name + " " * (lead - cell_width(column.name))
        words = folded(cell, width - lead)
        if max(map(cell_width, words)) > width - lead:
            # A word that is too long for what is left of the line has one of its own.
            yield column.name
            yield from folded(cell, width)
        else:
            yield (head + words[0]).rstrip()
            yield from (" " * lead + word for word in words[1:])


def _fitting(columns: Sequence[_Column], width: int, is_ascii: bool) -> list[_Column]:
    """The most important columns that have room, in their order; free text is cut where that makes room for others."""
    kept: dict[int, int] = {}
    left = width + _GAP
    for position, column in sorted(enumerate(columns), key=lambda item: item[1].rank):
        if column.least(width) + _GAP <= left:
            kept[position] = column.least(width)
            left -= kept[position] + _GAP
    if not kept:
        return [min(columns, key=lambda column: column.rank)]
    for position, least in kept.items():
        more = min(columns[position].width - least, left)
        kept[position] = least + more
        left -= more
    ellipsis = "..." if is_ascii else "…"
    return [
        column if kept[position] == column.width else column.cut(kept[position], ellipsis)
        for position, column in enumerate(columns)
        if position in kept
    ]


def _cut(text: str, width: int, ellipsis: str) -> str:
    """The beginning of a text, up to a place where no word and no number is broken."""
    if cell_width(text) <= width:
        return text
    room = width - len(ellipsis)
    end = 0
    taken = 0
    for character in text:
        taken += cell_width(character)
        if taken > room:
            break
        end += 1
    while end and _WORD.match(text[end - 1]) and _WORD.match(text[end]):
        end -= 1
    return text[:end].rstrip() + ellipsis


def _note(columns: Sequence[_Column], kept: Sequence[_Column], needed: int, width: int) -> str:
    """Which columns are missing or cut, and how to see them, in one line."""
    shown = {column.name for column in kept}
    missing = [column.name for column in columns if column.name not in shown]
    cut = [column.name for column in kept if column.is_cut]
    for ways, least in ((_WAYS, 3), (_WAYS_SHORT, 1), (_WAYS_SHORT, 0), ("--json", 0)):
        for most in range(len(missing), min(least, len(missing)) - 1, -1):
            names = some(missing, most) if most else f"{len(missing)} column{'s' if missing[1:] else ''}"
            parts = [f"not shown: {names}"] if missing else []
            parts += [f"cut: {some(cut, max(most, 2))}"] if cut else []
            said = f"{'; '.join(parts)} ({ways.format(needed)})"
            if cell_width(said) <= width:
                return said
    return f"{len(missing) + len(cut)} columns are not whole (--json)"


def some(names: Sequence[str], most: int) -> str:
    """Names in a line, the first ones and how many more there are."""
    if len(names) <= most:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
