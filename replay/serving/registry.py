"""
The venues that this machine can be, found by their folders.

A venue is a folder below `replay/serving/venues/`. Its package `recorded` has `SERVED`, the classes that serve a recording,
by the names that recordings have of the venue; its package `synthetic` has `SYNTHETIC`, a `SyntheticSpec` for each market
that it can make up. Nothing outside names it: adding one is adding a folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import replay.serving.venues
from replay.serving.served_venue import ServedVenue, TapeFacts
from replay.serving.synthetic_venue import SyntheticSpec, SyntheticVenue
from replay.synthetic.market import Market
from replay.synthetic.traders import AccountsOptions
from toolkit.errors import ConfigError

__all__ = ["default_synthetic", "make_synthetic", "served_venues", "synthetic_venues"]


@cache
def served_venues() -> Mapping[str, Callable[[TapeFacts], ServedVenue]]:
    """What serves a recording of each venue, by the venue's name, in the order of the names."""
    return _found("recorded", "SERVED")


@cache
def synthetic_venues() -> Mapping[str, SyntheticSpec]:
    """What each venue is as a synthetic market, by the venue's name, in the order of the names."""
    return _found("synthetic", "SYNTHETIC")


def _found(side: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(replay.serving.venues.__path__):
        if module.ispkg:
            found |= getattr(importlib.import_module(f"{replay.serving.venues.__name__}.{module.name}.{side}"), name)
    return dict(sorted(found.items()))


def default_synthetic() -> str:
    """The venue that a synthetic market is where none is named."""
    return next(name for name, spec in synthetic_venues().items() if spec.is_default)


def make_synthetic(
    venue: str, market: Market, options: object | None = None, accounts: AccountsOptions | None = None
) -> SyntheticVenue:
    """
    The market behind that venue's interface.

    Args:
        venue: A name in `synthetic_venues()`.
        market: Not yet advanced, if it has accounts.
        options: Cadences and limits, of the venue's own `options_type`; None for those of the real venue.
        accounts: Times of liquidations and transfers of the known accounts; None for a market without them.

    Raises ConfigError for a venue that cannot be made up, and for options of another venue.
    """
    spec = synthetic_venues().get(venue)
    if spec is None:
        raise ConfigError(f"no synthetic venue {venue!r}, expected one of {', '.join(synthetic_venues())}")
    if options is not None and not isinstance(options, spec.options_type):
        raise ConfigError(f"{venue} takes {spec.options_type.__name__}, not {type(options).__name__}")
    return spec.make(market, options, accounts)
