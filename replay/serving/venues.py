"""
Every venue that can be served from a recording.

A venue is a package below `replay/serving/` with `SERVED`, its classes by the names that recordings have of it. Nothing
outside names it: adding one is adding a folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Final

import replay.serving
from replay.serving.venue import ServedVenue, TapeFacts

__all__ = ["SERVED"]


def _served() -> dict[str, Callable[[TapeFacts], ServedVenue]]:
    found: dict[str, Callable[[TapeFacts], ServedVenue]] = {}
    packages = [module.name for module in pkgutil.iter_modules(replay.serving.__path__) if module.ispkg]
    for name in sorted(packages):
        found |= importlib.import_module(f"replay.serving.{name}").SERVED
    return dict(sorted(found.items()))


SERVED: Final = _served()
