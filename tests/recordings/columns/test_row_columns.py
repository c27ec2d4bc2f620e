"""Columns of rows are the same whether they were read or have one value in all rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from recordings.columns.row_columns import RowColumns, arrow_of, with_constants

ROWS = pa.record_batch(
    {
        "ts_recv": pa.array([5, 6, 7], pa.timestamp("ns")),
        "ts_event": pa.array([None, 2, 3], pa.timestamp("ns")),
        "price": pa.array([1.5, None, 2.5]),
        "fused": pa.array([True, None, False]),
        "form": pa.array(["full", "bbo", "full"]),
        "venue": pa.array(["a", "a", "b"]),
        "trading_pair": pa.array(["X", "Y", "X"]),
    }
)


def test_nulls_are_what_columns_have_in_their_place() -> None:
    rows = RowColumns(ROWS, {})
    assert rows.times("ts_recv", -1).tolist() == [5, 6, 7]
    assert rows.times("ts_event", -1).tolist() == [-1, 2, 3]
    assert np.array_equal(rows.floats("price"), [1.5, np.nan, 2.5], equal_nan=True)
    assert rows.flags("fused").tolist() == [True, False, False]
    assert rows.places("form", ["bbo", "full"].index).tolist() == [1, 0, 1]
    assert rows.pairs(lambda venue, pair: {"aX": 3, "aY": 4, "bX": 5}[venue + pair]).tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("name", "value"), [("form", "full"), ("fused", True), ("depth_cap", 20), ("count", None), ("cause", None)]
)
def test_a_column_of_one_value_is_the_column_itself(name: str, value: Any) -> None:
    """One answer for all rows, or one for each: what is made of either is the same."""
    left = ROWS.select(["ts_recv"])
    constant, read = RowColumns(left, {name: value}), RowColumns(with_constants(left, {name: value}), {})
    assert constant.column(name).to_pylist() == read.column(name).to_pylist() == [value] * 3
    assert constant.has(name) == read.has(name) == (value is not None)
    if name == "fused":
        assert constant.flags(name) is True
        assert read.flags(name).tolist() == [True] * 3
    if name == "form":
        assert np.all(constant.places(name, ["full"].index) == read.places(name, ["full"].index))


def test_a_column_that_an_older_format_has_not_is_null() -> None:
    rows = RowColumns(ROWS, {})
    assert (rows.column("count").null_count, rows.has("count"), rows.flags("is_duplicate")) == (3, False, False)


def test_integers_of_numpy_are_arrays_as_they_are() -> None:
    assert arrow_of(np.arange(4)).equals(pa.array([0, 1, 2, 3]))
