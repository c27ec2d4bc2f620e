"""One Parquet file of a table, written a row group at a time while its segment is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from recordings.format.manifest import TableFile
from recordings.format.parquet_options import Compression, parquet_options
from recordings.storage.atomic_files import atomic_path, file_hash, make_folder

__all__ = ["TableFileWriter", "TableSink"]

#: Parts that wait for the thread that writes; more are not made before one is done.
_WAITING_MAX: Final = 4


class TableSink(Protocol):
    """What row groups of a table go to: `TableFileWriter`, or what looks at them in its place."""

    def write(self, make_groups: Callable[[], Iterable[pa.Table]]) -> None: ...
    def finish(self, make_groups: Callable[[], Iterable[pa.Table]]) -> TableFile: ...
    def abort(self) -> None: ...


class TableFileWriter:
    """
    Writes a file that takes its name in `finish`; without that nothing is left of it.

    Args:
        folder: The recording.
        table: Name of the table.
        number: Number in the file's name.
        schema: Schema of the rows.
        compression: How well.
        executor: One that runs one task at a time, in which to make and write row groups: Arrow lets go of the
            interpreter meanwhile. None to do that at once.
    """

    def __init__(
        self,
        folder: Path,
        table: str,
        number: int,
        schema: pa.Schema,
        compression: Compression,
        executor: Executor | None = None,
    ) -> None:
        self._path = folder / table / f"{number:06d}.parquet"
        self._table = table
        self._schema = schema
        self._compression = compression
        self._executor = executor
        self._rows = 0
        self._stack = ExitStack()
        self._writer: Any = None
        self._temporary = self._path
        self._waiting: list[Future[None]] = []
        self._is_over = False

    def write(self, make_groups: Callable[[], Iterable[pa.Table]]) -> None:
        """Write what a function makes, each table a row group of its own; what it raises comes here, later perhaps."""
        if self._executor is None:
            self._write(make_groups)
            return
        self._waiting.append(self._executor.submit(self._write, make_groups))
        if len(self._waiting) > _WAITING_MAX:
            self._waiting.pop(0).result()

    def finish(self, make_groups: Callable[[], Iterable[pa.Table]]) -> TableFile:
        """Write the last ones; the file is complete and synced when this returns what the manifest says of it."""
        try:
            for future in self._waiting:
                future.result()
            self._write(make_groups)
            self._open().close()
            digest, size = file_hash(self._temporary), self._temporary.stat().st_size
            self._stack.close()
        except BaseException:  # Ctrl-C and out of memory too: nothing half-written stays
            self.abort()
            raise
        self._is_over = True
        return TableFile(f"{self._table}/{self._path.name}", self._rows, size, digest)

    def abort(self) -> None:
        """Leave nothing behind, if it is not finished: the segment is given up. May be called twice."""
        for future in self._waiting:
            if not future.cancel():
                wait([future])
        if not self._is_over:
            self._is_over = True
            given_up = RuntimeError("the segment was given up")
            # To close a file writes its end, for which a full disk has no room.
            with suppress(OSError, pa.ArrowException):
                self._stack.__exit__(RuntimeError, given_up, None)

    def _write(self, make_groups: Callable[[], Iterable[pa.Table]]) -> None:
        for group in make_groups():
            self._rows += len(group)
            self._open().write_table(group, row_group_size=len(group))

    def _open(self) -> Any:
        if self._writer is None:
            make_folder(self._path.parent)
            self._temporary = self._stack.enter_context(atomic_path(self._path))
            options = parquet_options(self._schema, self._table, self._compression)
            self._writer = self._stack.enter_context(pq.ParquetWriter(self._temporary, self._schema, **options))
        return self._writer
