"""Ctrl-C, whatever libraries ask the system to do with it."""

from __future__ import annotations

import signal
from contextlib import suppress

__all__ = ["let_interrupts_through"]


def let_interrupts_through() -> None:
    """
    Call it before what may wait for the other end of a pipe or a terminal.

    Polars asks the system, when it is loaded, to go on with such a wait after Ctrl-C as if nothing had been.
    """
    with suppress(ValueError, OSError):
        signal.siginterrupt(signal.SIGINT, True)
