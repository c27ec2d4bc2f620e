"""
A strategy's own timestamped data: each row is there from its time on, and never before.

A Parquet or CSV file with a column of times: timestamps (without a zone: UTC), ISO 8601 text, or whole numbers of ns since
the epoch. Rows are sorted by it; of equal times they keep the order of the file.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from toolkit.clock import format_ns
from toolkit.errors import ConfigError
from toolkit.timing.times import time_ns

__all__ = ["DataView", "LoadedData", "OwnData"]

#: Whole numbers below are no ns of our time: that many ns after the epoch is the year 1990. Seconds, ms and us are less.
_NS_LEAST: Final = 631_152_000 * 10**9


class OwnData:
    """
    Where a strategy's own data is: as the default of a parameter, `signals: OwnData = OwnData("signals.csv")`.

    Args:
        path: The file; one that is not absolute is beside the strategy's file.
        time: Its column of times.
    """

    __slots__ = ("path", "time")

    def __init__(self, path: str | Path, time: str = "time") -> None:
        self.path = str(path)
        self.time = time

    def load(self, folder: Path) -> LoadedData:
        """
        Read it all.

        Args:
            folder: Folder that paths are relative to.

        Raises ConfigError for a file that cannot be read, has no such column, or times that are none.
        """
        path = folder / self.path
        try:
            content = path.read_bytes()
        except OSError as exc:
            raise ConfigError(f"own data {path} cannot be read: {exc.strerror or exc}") from None
        try:
            if path.suffix.lower() in (".parquet", ".pq"):
                table = pq.read_table(io.BytesIO(content))
            else:
                # A column of times is read as it is written: a guess of its type may cut off what is finer than seconds.
                text = pcsv.ConvertOptions(column_types={self.time: pa.string()})
                table = pcsv.read_csv(io.BytesIO(content), convert_options=text)
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"own data {path} is neither Parquet (.parquet) nor CSV: {exc}") from None
        if self.time not in table.column_names:
            there = ", ".join(table.column_names[:12]) or "none"
            raise ConfigError(f"own data {path} has no column {self.time!r} of times; its columns are {there}")
        times = _times(table.column(self.time), str(path), self.time)
        rows = table.drop_columns([self.time])
        if any(later < earlier for earlier, later in pairwise(times)):
            order = sorted(range(len(times)), key=times.__getitem__)
            times, rows = [times[index] for index in order], rows.take(pa.array(order, pa.int64()))
        columns = {name: rows.column(name).to_pylist() for name in rows.column_names}
        return LoadedData(times, columns, blake2b(content, digest_size=16).hexdigest())


class LoadedData:
    """
    The rows of a file, sorted by time.

    Attributes:
        times: ns since the epoch, ascending.
        columns: The others, by name.
        digest: BLAKE2b-128 of the file, hex.
    """

    __slots__ = ("columns", "digest", "times")

    def __init__(self, times: list[int], columns: dict[str, list[Any]], digest: str) -> None:
        self.times = times
        self.columns = columns
        self.digest = digest

    def until(self, now_ns: int) -> DataView:
        """The rows of that time and before."""
        return DataView(self, bisect_right(self.times, now_ns))


class DataView:
    """
    The rows that are there now.

    Its length is their number; `view["column"]` is a list of one column, oldest first.
    """

    __slots__ = ("_data", "_end")

    def __init__(self, data: LoadedData, end: int) -> None:
        self._data = data
        self._end = end

    def __len__(self) -> int:
        return self._end

    def __getitem__(self, column: str) -> list[Any]:
        """One column, oldest first. Raises ConfigError for a column that there is not."""
        return self._column(column)[: self._end]

    def last(self, column: str, default: Any = None) -> Any:
        """The newest value of a column; `default` before the first row."""
        values = self._column(column)
        return values[self._end - 1] if self._end else default

    @property
    def time_ns(self) -> int | None:
        """The time of the newest row, ns; None before the first."""
        return self._data.times[self._end - 1] if self._end else None

    @property
    def row(self) -> dict[str, Any] | None:
        """The newest row, by column; None before the first."""
        if not self._end:
            return None
        return {name: values[self._end - 1] for name, values in self._data.columns.items()}

    def _column(self, name: str) -> list[Any]:
        values = self._data.columns.get(name)
        if values is None:
            raise ConfigError(f"own data has no column {name!r}; its columns are {', '.join(self._data.columns)}")
        return values


def _times(column: Any, path: str, name: str) -> list[int]:
    """A column of times as ns."""
    kind = column.type
    if column.null_count:
        place = column.to_pylist().index(None)
        raise ConfigError(f"own data {path}: {name} of row {place + 1} is empty, expected a time")
    if pa.types.is_timestamp(kind):
        return [int(value) for value in pc.cast(pc.cast(column, pa.timestamp("ns", kind.tz)), pa.int64()).to_pylist()]
    if pa.types.is_date(kind):
        return [int(value) for value in pc.cast(pc.cast(column, pa.timestamp("ns")), pa.int64()).to_pylist()]
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ConfigError(f"own data {path}: {name} is {kind}, expected timestamps, text, or whole numbers of ns")
    found = []
    for place, value in enumerate(column.to_pylist(), 1):
        try:
            ns = value if isinstance(value, int) else time_ns(value)
        except ConfigError as exc:
            raise ConfigError(f"own data {path}: {name} of row {place}: {exc}") from None
        if ns < _NS_LEAST:
            raise ConfigError(
                f"own data {path}: {name} of row {place} is {ns} ns, which is {format_ns(ns)}; expected ns since the epoch"
            )
        found.append(ns)
    return found
