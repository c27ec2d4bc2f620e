"""Frames as rows of the `raw` table: the columns, their checksum, and a batch as the journal has it in its file."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from recordings.format.schema import RAW_TABLE, TABLES
from toolkit.frames import Frame

__all__ = ["STREAM_BEGIN", "STREAM_END", "batch_checksum", "batch_message", "frames_to_batch"]

_SCHEMA: Final = TABLES[RAW_TABLE]


def frames_to_batch(frames: Sequence[Frame]) -> pa.RecordBatch:
    """Frames as rows of the `raw` table; a payload that is not UTF-8 goes to `payload_bytes`, exactly as it was."""
    payloads = [frame.payload for frame in frames]
    payload, payload_bytes = _payloads(payloads)
    recvs = np.array([frame.ts_recv for frame in frames], np.int64)
    monos = np.array([frame.ts_mono for frame in frames], np.int64)
    is_same = monos == recvs
    arrays = [
        pa.array(np.array([frame.capture_seq for frame in frames], np.int64)),
        pa.array(recvs).cast(pa.timestamp("ns")),
        pa.array(monos, mask=is_same if is_same.any() else None),
        _words([frame.venue for frame in frames]),
        pa.array([frame.conn_id for frame in frames], pa.int32()),
        pa.array([frame.conn_epoch for frame in frames], pa.int32()),
        _words([frame.kind for frame in frames]),
        payload,
        payload_bytes,
        _words([frame.context for frame in frames]),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _payloads(payloads: Sequence[bytes]) -> tuple[pa.Array, pa.Array]:
    try:
        payload = pa.array(payloads, pa.binary()).cast(pa.string())  # checks that it is UTF-8
        return payload, pa.nulls(len(payloads), pa.binary())
    except pa.ArrowInvalid:
        texts = [_text_or_none(value) for value in payloads]
        others = [None if text is not None else value for text, value in zip(texts, payloads, strict=True)]
        return pa.array(texts, pa.string()), pa.array(others, pa.binary())


def _text_or_none(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def _words(values: Sequence[str | None]) -> pa.Array:
    """A column that mostly has one value."""
    if values and values.count(values[0]) == len(values):
        return pa.repeat(pa.scalar(values[0], pa.string()), len(values))
    return pa.array(values, pa.string())


def batch_checksum(batch: pa.RecordBatch) -> int:
    """CRC-32 over the values of a batch, column by column; independent of how Arrow lays them out."""
    parts: list[Any] = []
    for column in batch.columns:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_binary(kind):
            if column.null_count == len(column):
                parts.append(b"null")
                continue
            offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
            lengths = np.diff(offsets)
            if column.null_count:
                lengths = np.where(column.is_valid().to_numpy(zero_copy_only=False), lengths, -1).astype(np.int32)
            parts.append(lengths.tobytes())
            data = column.buffers()[2]
            if data is not None:
                parts.append(memoryview(data)[int(offsets[0]) : int(offsets[-1])])
        else:
            values = column.cast(pa.int64()) if pa.types.is_timestamp(kind) else column
            if column.null_count:
                parts.append(column.is_valid().to_numpy(zero_copy_only=False).tobytes())
                values = values.fill_null(0)
            parts.append(np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).tobytes())
    # In one go, because zlib lets other threads run meanwhile, and each time this one waits until it is let in again.
    return zlib.crc32(b"".join(parts))


#: How a stream ends ("IPC Streaming Format" in Arrow's columnar format): a continuation without a length.
STREAM_END: Final = b"\xff\xff\xff\xff\0\0\0\0"


def _stream(batches: Sequence[pa.RecordBatch], metadata: dict[bytes, bytes] | None = None) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, _SCHEMA) as stream:
        for batch in batches:
            stream.write_batch(batch, custom_metadata=metadata)
    return sink.getvalue()


#: How a stream of the raw table begins.
STREAM_BEGIN: Final = _stream([]).to_pybytes().removesuffix(STREAM_END)


def batch_message(batch: pa.RecordBatch, metadata: dict[bytes, bytes]) -> pa.Buffer:
    """
    A batch as it stands in a stream, after `STREAM_BEGIN` and before `STREAM_END`.

    Arrow writes into memory of its own, without the interpreter's lock: a sink written in Python would have to wait
    for the lock with every piece.
    """
    return _stream([batch], metadata)[len(STREAM_BEGIN) : -len(STREAM_END)]
