"""
What the kernel knows of its clock: whether anything keeps it right, and by how much it may be wrong.

Linux tells by `adjtimex` (see adjtimex(2)), which any user may ask. Other systems tell nothing that this reads.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Final

__all__ = ["ClockState", "read_clock_state"]

_STA_UNSYNC: Final = 0x0040
_STA_NANO: Final = 0x2000
#: What the call returns for a clock that nothing keeps right.
_TIME_ERROR: Final = 5
_NS_PER_US: Final = 1000


class _Timeval(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_usec", ctypes.c_long))


class _Timex(ctypes.Structure):
    # include/uapi/linux/timex.h, as the C library has it for the calling process.
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@dataclass(frozen=True, slots=True)
class ClockState:
    """
    The kernel's view of its wall clock.

    Attributes:
        is_synchronised: Whether a time daemon says that it keeps it right.
        offset_ns: Correction that is still being made, ns; 0 also where the daemon makes it in another way.
        error_max_ns: Bound of the error, ns; it grows while the clock is not corrected.
        error_estimated_ns: Estimate of the error, ns.
    """

    is_synchronised: bool
    offset_ns: int
    error_max_ns: int
    error_estimated_ns: int


def read_clock_state() -> ClockState | None:
    """The state now; None where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    timex = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError):
        return None
    if state < 0:
        return None  # forbidden, within some containers
    return ClockState(
        is_synchronised=state != _TIME_ERROR and not timex.status & _STA_UNSYNC,
        offset_ns=timex.offset * (1 if timex.status & _STA_NANO else _NS_PER_US),
        error_max_ns=timex.maxerror * _NS_PER_US,
        error_estimated_ns=timex.esterror * _NS_PER_US,
    )
