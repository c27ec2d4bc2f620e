"""
What most programs begin with, from one place.

Each name is loaded when it is first used: `import tickdeck` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from analysis import connect, scan
    from recordings.recording import Recording
    from replay.source import ReplayDataSource

__all__ = ["Recording", "ReplayDataSource", "connect", "scan"]

_PLACES: Final = {
    "Recording": "recordings.recording",
    "ReplayDataSource": "replay.source",
    "connect": "analysis",
    "scan": "analysis",
}


def __getattr__(name: str) -> Any:
    """Load a public name, or the version."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tickdeck")
    if name not in _PLACES:
        raise AttributeError(f"module 'tickdeck' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
