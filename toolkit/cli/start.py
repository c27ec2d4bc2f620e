"""Where the command starts: before anything is loaded, so that Ctrl-C is one line then too."""

from __future__ import annotations

import os
import signal
from typing import Any

__all__ = ["main"]


def main() -> Any:
    """Run the command; it does not return."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from toolkit.cli.main import main as run

    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


def _leave(number: int, _: object) -> None:
    # Nothing has been done yet. An exception out of the middle of an import may be taken for a module that is missing.
    os.write(2, b"Aborted.\n")
    os._exit(128 + number)
