"""A batch of the `raw` table as arrays for compiled code, and as single frames for everything else."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.columnar import FrameBatch
from toolkit.frames import WS_IN, Frame

__all__ = ["FrameRows"]

#: Of a typed scalar Arrow need not find the type, for which it looks for modules that may not be installed.
_WS_IN: Final = pa.scalar(WS_IN, pa.string())


class FrameRows:
    """
    Consecutive frames.

    Args:
        batch: Rows of the `raw` table.

    Attributes:
        payload_bytes: Bytes of payload in each frame.
        ts_recv: ns.
    """

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self.ts_recv = _integers(batch.column("ts_recv").view(pa.int64()))
        mono = batch.column("ts_mono")
        # An import knows one time only, which is not stored twice.
        self._ts_mono = np.where(_valid(mono), _integers(mono.fill_null(0)), self.ts_recv)
        self._conn_id = batch.column("conn_id").to_numpy()
        self._conn_epoch = batch.column("conn_epoch").to_numpy()
        payload = batch.column("payload")
        self._is_text = _valid(payload)
        _, offsets, data = payload.buffers()
        self._offsets = np.frombuffer(offsets, np.int32)[payload.offset : payload.offset + len(batch) + 1]
        self._data = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        self._venues: list[str] = batch.column("venue").unique().to_pylist()
        self._venue_codes = None if len(self._venues) == 1 else _codes(batch.column("venue"), self._venues)
        self._batches: dict[str, FrameBatch] = {}
        self.first_seq = int(batch.column("capture_seq")[0].as_py()) if len(batch) else 0
        self.payload_bytes = np.diff(self._offsets).astype(np.int64)
        others = batch.column("payload_bytes")
        if others.null_count < len(batch):
            self.payload_bytes += pc.fill_null(pc.binary_length(others), 0).to_numpy()
        self._kinds: list[str] | None = None
        self._contexts = batch.column("context")

    def __len__(self) -> int:
        return len(self._batch)

    @property
    def conn_id_max(self) -> int:
        """Highest connection number of any of them."""
        return int(self._conn_id.max(initial=-1))

    def venue(self, index: int) -> str:
        """Whose frame that is."""
        return self._venues[0 if self._venue_codes is None else int(self._venue_codes[index])]

    def is_text(self, index: int) -> bool:
        """Whether the payload of a frame is UTF-8."""
        return bool(self._is_text[index])

    def of_venue(self, venue: str) -> FrameBatch:
        """All of them as arrays, in which WebSocket messages of that venue are to be taken."""
        batch = self._batches.get(venue)
        if batch is None:
            is_message = pc.equal(self._batch.column("kind"), _WS_IN).to_numpy(zero_copy_only=False)
            is_taken = is_message & self._is_text
            if venue not in self._venues:
                is_taken[:] = False
            elif self._venue_codes is not None:
                is_taken &= self._venue_codes == self._venues.index(venue)
            batch = self._batches[venue] = FrameBatch(
                self.first_seq,
                self._data,
                self._offsets,
                self.ts_recv,
                self._ts_mono,
                self._conn_id,
                self._conn_epoch,
                is_taken,
            )
        return batch

    def frame(self, index: int) -> Frame:
        """One of them."""
        if self._kinds is None:
            self._kinds = self._batch.column("kind").to_pylist()
        payload = self._data[self._offsets[index] : self._offsets[index + 1]].tobytes()
        if not self._is_text[index]:
            payload = self._batch.column("payload_bytes")[index].as_py()
        return Frame(
            self.first_seq + index,
            int(self.ts_recv[index]),
            int(self._ts_mono[index]),
            self.venue(index),
            int(self._conn_id[index]),
            int(self._conn_epoch[index]),
            self._kinds[index],
            payload,
            self._contexts[index].as_py(),
        )


def _integers(column: pa.Array) -> Any:
    return column.to_numpy(zero_copy_only=False)


def _valid(column: pa.Array) -> Any:
    return column.is_valid().to_numpy(zero_copy_only=False)


def _codes(column: pa.Array, words: list[str]) -> Any:
    return pc.index_in(column, value_set=pa.array(words, pa.string())).to_numpy()
