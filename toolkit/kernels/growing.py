"""Arrays that grow, and arrays as compiled code takes them: nothing here is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.columnar import FrameBatch

__all__ = ["BatchViews", "appended", "frozen", "longer"]


def longer(array: Any, length: int, fill: int = 0) -> Any:
    """The same array with room for that many elements."""
    if len(array) >= length:
        return array
    shape = (max(length, 2 * len(array)), *array.shape[1:])
    # Memory of zeros is not touched before it is used.
    wide = np.full(shape, fill, array.dtype) if fill else np.zeros(shape, array.dtype)
    wide[: len(array)] = array
    return wide


def appended(ends: Any, data: Any, count: int, more: bytes) -> tuple[Any, Any]:
    """Where pieces end, and the pieces one after the other, with one more after the first `count`."""
    start = int(ends[count])
    ends, data = longer(ends, count + 2), longer(data, start + len(more))
    data[start : start + len(more)] = np.frombuffer(more, np.uint8)
    ends[count + 1] = start + len(more)
    return ends, data


def frozen(array: Any, kind: Any) -> Any:
    """The array as one of that type that cannot be written to: for another type the kernel would be compiled again."""
    view = np.ascontiguousarray(array, kind).view()
    view.flags.writeable = False
    return view


class BatchViews:
    """The arrays of a batch as compiled code takes them: made once for each, since runs may be short."""

    def __init__(self) -> None:
        self._frames: FrameBatch | None = None
        self._views: tuple[Any, ...] = ()

    def of(self, frames: FrameBatch) -> tuple[Any, ...]:
        """Payloads, where they begin, both times, connections, and which frames are to be taken."""
        if frames is not self._frames:
            self._frames = frames
            self._views = (
                frozen(frames.data, np.uint8),
                frozen(frames.offsets, np.int32),
                frozen(frames.ts_recv, np.int64),
                frozen(frames.ts_mono, np.int64),
                frozen(frames.conn_id, np.int32),
                frozen(frames.is_taken, np.bool_),
            )
        return self._views
