"""Aggregating batch after batch: the memory is that of the groups, not of the rows."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

__all__ = ["Gathering"]

_ROWS_MIN = 200_000


class Gathering:
    """
    A group-by over batches that come one after the other, in order.

    Each batch is aggregated alone, and the partial results are merged whenever they have doubled, so the work stays
    proportional to the rows. Sums must be of integers: then neither the size of the batches nor the number of threads
    can change a result.
    """

    def __init__(self, *, keys: Sequence[str], parts: dict[str, pl.Expr], merge: dict[str, pl.Expr]) -> None:
        """
        Args:
            keys: Columns of the groups.
            parts: Aggregations of a batch, by the name of their column.
            merge: Function for each of these names by which partial results, in order, become one.
        """
        self._keys = list(keys)
        self._parts = [expr.alias(name) for name, expr in parts.items()]
        self._merge = [expr.alias(name) for name, expr in merge.items()]
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = 0
        self._merged_rows = 0

    def add(self, batch: pl.DataFrame) -> None:
        """Take in the next batch."""
        part = batch.group_by(self._keys, maintain_order=True).agg(self._parts)
        self._pending.append(part)
        self._pending_rows += part.height
        if self._pending_rows > max(_ROWS_MIN, 2 * self._merged_rows):
            self._compact()

    def result(self) -> pl.DataFrame:
        """The keys and aggregations of everything so far, sorted by the keys. Raises ValueError before any batch."""
        self._compact()
        return self._pending[0].sort(self._keys)

    def _compact(self) -> None:
        if not self._pending:
            raise ValueError("nothing was gathered")
        merged = pl.concat(self._pending).group_by(self._keys, maintain_order=True).agg(self._merge)
        self._pending = [merged]
        self._pending_rows = self._merged_rows = merged.height
