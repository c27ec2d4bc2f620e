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
    from replay.strategy.backtesting import backtest
    from replay.strategy.context import Context
    from replay.strategy.own_data import OwnData
    from replay.strategy.strategy import Strategy, Wakes
    from toolkit.messages import Side

__all__ = [
    "Context",
    "OwnData",
    "Recording",
    "ReplayDataSource",
    "Side",
    "Strategy",
    "Wakes",
    "backtest",
    "connect",
    "scan",
]

_PLACES: Final = {
    "Context": "replay.strategy.context",
    "OwnData": "replay.strategy.own_data",
    "Recording": "recordings.recording",
    "ReplayDataSource": "replay.source",
    "Side": "toolkit.messages",
    "Strategy": "replay.strategy.strategy",
    "Wakes": "replay.strategy.strategy",
    "backtest": "replay.strategy.backtesting",
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
