"""Arrays that grow, and arrays as compiled code takes them: nothing here is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["appended", "frozen", "longer"]


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
