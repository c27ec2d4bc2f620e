"""Tables on terminals of any width: nothing that is read as one is ever broken."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.tapes import make_recording
from tests.toolkit.cli.ptys import in_terminal
from toolkit.cli.output.table_layout import Table, cell_width, folded, format_cell

NAMES = ["pair", "mean", "of what stood", "max", "moment", "count", "detail"]


def frame(rows: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "pair": [f"PAIR{number}-USD" for number in range(rows)],
            "mean": [-1234.56789 * (number + 1) for number in range(rows)],
            "of what stood": [0.5 + number for number in range(rows)],
            "max": [10**12 + number for number in range(rows)],
            "moment": [1_700_000_000_123_456_000 + number * 10**9 for number in range(rows)],
            "count": list(range(rows)),
            "detail": [f"the connection {number} was closed by the venue" for number in range(rows)],
        },
    ).with_columns(pl.col("moment").cast(pl.Datetime("ns")))


def lines(table: pl.DataFrame, width: int | None, **more: Any) -> list[str]:
    return list(Table(frame=table, **more).lines(width))


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140, 200])
@pytest.mark.parametrize("rows", [1, 2, 5, 7, 50])
def test_every_number_and_time_is_whole_or_said_to_be_missing(rows: int, width: int) -> None:
    table = frame(rows)
    found = lines(table, width)
    assert max(map(cell_width, found)) <= width
    text = "\n".join(found)
    missing = re.findall(r"not shown: (.*?) (?:\(|and )", found[-1])
    is_counted = "more" in found[-1] or "columns (" in found[-1]
    for name in NAMES[:-1]:
        cells = lines(table.select(name), None)[2:]
        is_there = all(re.search(rf"(?<!\S){re.escape(cell.strip())}(?!\S)", text) for cell in cells)
        assert is_there or is_counted or name in ", ".join(missing), name
    assert "PAIR0-USD" in text, "the most important column stays"


def test_a_wide_terminal_shows_all_on_one_line_each() -> None:
    assert len(lines(frame(10), 200)) == 12
    assert lines(frame(10), 200) == lines(frame(10), None)


def test_headings_are_folded_before_anything_is_left_out() -> None:
    table = pl.DataFrame({"basis points to the decision": [1.5] * 9, "% at one tick": [12.25] * 9})
    assert lines(table, 20)[:6] == [
        "   basis",
        "  points   % at",
        "  to the    one",
        "decision   tick",
        "────────  ─────",
        "     1.5  12.25",
    ]
    assert len(lines(table, 20)) == 5 + 9, "and nothing is left out"


def test_the_important_columns_stay_and_one_line_names_the_others() -> None:
    found = lines(frame(10), 50, importance=("pair", "count", "moment"))
    assert found[0].split() == ["pair", "moment", "count"]
    assert found[-1].startswith("not shown: ")
    assert "--json" in found[-1]
    assert len(found) == 13


def test_columns_without_a_value_go_first() -> None:
    table = frame(10).with_columns(pl.lit(None, pl.Float64).alias("count"))
    found = lines(table, 45, importance=("count", "pair"))
    assert found[2].split()[0] == "pair"
    assert "count" not in found[2]


def test_a_few_rows_are_turned_and_one_is_a_list_of_facts() -> None:
    names, rule, *rows = lines(frame(2).drop("moment", "detail"), 50)
    assert names.split() == ["pair", "PAIR0-USD", "PAIR1-USD"]
    assert rule == "─────────────  ─────────────  ─────────────"
    assert rows[1] == "of what stood            0.5            1.5"
    one = lines(frame(1), 40)
    assert one[0] == "pair           PAIR0-USD"
    assert one[-2:] == ["detail         the connection 0 was", "               closed by the venue"]


def test_free_text_is_cut_between_words_and_the_line_says_so() -> None:
    table = pl.DataFrame({"n": range(9), "detail": ["the price of it is 42000.125, which was not expected here"] * 9})
    found = lines(table, 30)
    assert found[2].endswith("the price of it is…")
    assert found[-1].startswith("cut: detail (")
    assert max(map(cell_width, found)) <= 30


def test_an_identifier_is_never_cut_where_it_fits_a_line() -> None:
    order = "0x" + "ab" * 20
    table = pl.DataFrame({"n": range(9), "order_id": [order] * 9, "price": [1.5] * 9})
    assert order in lines(table, 60)[2]
    assert order not in "\n".join(lines(table, 40))
    assert "order_id" in lines(table, 40)[-1]


def test_wide_characters_take_two_cells() -> None:
    table = pl.DataFrame({"name": ["漢字", "ab", "é"], "n": [1, 22, 333]})
    assert lines(table, None) == ["name    n", "────  ───", "漢字    1", "ab     22", "é     333"]
    assert {cell_width(line) for line in lines(table, None)} == {9}


def test_what_would_move_the_cursor_is_shown_as_an_escape() -> None:
    assert lines(pl.DataFrame({"a\nb": ["x\x1b[31m", "two\nlines"]}), None) == [
        "a\\nb",
        "──────────",
        "x\\x1b[31m",
        "two\\nlines",
    ]


@pytest.mark.parametrize("value", [-0.0, round(-0.0000001, 3), -5e-324 * 0.1])
def test_nothing_has_no_sign(value: float) -> None:
    assert format_cell(value) == "0"
    assert list(Table(frame=pl.DataFrame({"x": [value, -1.5]})).lines())[2:] == ["   0", "-1.5"]


def test_no_rows_are_one_line() -> None:
    assert lines(frame(0), 80) == ["no rows"]
    assert lines(frame(0), None, title="Gaps", nothing="no gaps") == ["no gaps"]


def test_times_have_the_places_that_one_of_them_needs() -> None:
    def shown(*ns: int | None) -> list[str]:
        return lines(pl.DataFrame({"t": pl.Series(ns, dtype=pl.Int64).cast(pl.Datetime("ns"))}), None)[2:]

    assert shown(1_700_000_000 * 10**9, None) == ["2023-11-14T22:13:20Z", ""]
    assert shown(1_700_000_000_120_000_000) == ["2023-11-14T22:13:20.120Z"]
    assert shown(1_700_000_000_120_000_000, 1_700_000_000_000_001_000)[1] == "2023-11-14T22:13:20.000001Z"
    assert shown(1_700_000_000_000_000_001, 0)[1] == "1970-01-01T00:00:00.000000000Z"


def test_ten_thousand_rows_are_laid_out_at_once() -> None:
    found = lines(frame(10_000), 80)
    assert len(found) == 10_005
    assert max(map(len, found)) <= 80


def test_what_has_no_room_for_one_column_is_still_whole() -> None:
    assert lines(pl.DataFrame({"n": [10**17] * 9, "m": [1] * 9}), 10)[2].strip() in (str(10**17), "1")


@pytest.mark.parametrize("width", [1, 5, 12, 39])
def test_no_width_is_too_small_to_say_something(width: int) -> None:
    for rows in (1, 2, 9):
        for names in (["pair"], ["mean", "max"], NAMES):
            assert lines(frame(rows).select(names), width)


def test_lines_of_ascii_draw_no_boxes() -> None:
    found = list(Table(frame=frame(50)).lines(60, is_ascii=True))
    assert all(line.isascii() for line in found)


@given(st.text(max_size=80), st.integers(1, 40))
def test_a_folded_text_keeps_every_word(text: str, width: int) -> None:
    found = folded(text, width)
    assert " ".join(found).split() == text.split() or cell_width(text) <= width
    assert all(cell_width(line) <= width or " " not in line.strip() for line in found)


def test_a_command_looks_at_its_terminal(tmp_path: Path) -> None:
    trades = [{"ts_recv": 10**18 + number, "capture_seq": number} for number in range(9)]
    make_recording(tmp_path / "tape", {"trades": trades})
    command = [sys.executable, "-m", "toolkit.cli", "sql", str(tmp_path / "tape"), "SELECT * FROM trades"]
    status, text = in_terminal(command, 60)
    assert (status, "not shown: " in text, max(map(cell_width, text.splitlines())) <= 60) == (0, True, True)
