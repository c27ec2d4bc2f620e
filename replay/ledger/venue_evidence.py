"""
How sure each value of a venue's facts is, and where it is from; and which of them a run rests on.

A value is named by its path in the file: `funding.interval`, or of a row of a table `fees.tiers.VIP 1.maker`. What is said of
`fees.tiers.maker` holds for all rows that are not named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["MARKS", "Use", "evidence_of", "expanded", "is_rested_on", "used_by", "values_of"]

#: What the marks mean.
MARKS: Final[Mapping[str, str]] = {
    "d": "documented by the venue",
    "2": "secondary sources",
    "?": "not verified",
}
#: What a file says of itself, and not of its venue.
_ABOUT: Final = frozenset({"date", "source", "unknown", "evidence", "sources"})
#: Names of rows, the first that there is.
_ROW_NAMES: Final = ("name", "floor")


def values_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """The values of a file as text, by path, in their order; lists of words are one value."""
    return {path: text for name, value in facts.items() if name not in _ABOUT for path, text in _leaves(name, value)}


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, each in value.items():
            if name != "name":
                yield from _leaves(f"{path}.{name}", each)
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for place, each in enumerate(value):
            if "tiers" in each:
                for pair in each["pairs"]:
                    yield from _leaves(f"{path}.{pair}", each["tiers"])
            else:
                row = next((str(each[name]) for name in _ROW_NAMES if name in each), str(place))
                yield from _leaves(f"{path}.{row}", each)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value))
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


def expanded(evidence: Mapping[str, str], sources: Mapping[str, str]) -> dict[str, str]:
    """
    What a file says of its values, `d orders`, with the source in full: `d: on order types`.

    Raises ValueError for a mark or a source that there is not.
    """
    found = {}
    for path, said in evidence.items():
        mark, _, source = said.partition(" ")
        if mark not in MARKS or source not in sources:
            raise ValueError(
                f"evidence of {path} is {said!r}, expected one of {', '.join(MARKS)} and one of {', '.join(sources)}"
            )
        found[path] = f"{mark}: {sources[source]}"
    return found


def evidence_of(path: str, evidence: Mapping[str, str]) -> str:
    """What is said of a value: by its path, or of a row of a table by its column; empty where nothing is."""
    if path in evidence:
        return evidence[path]
    parts = path.split(".")
    # The name of a row, or of a pair and a row of its table, stands between the table and the column, and may have points.
    for first in range(1, len(parts) - 1):
        column = ".".join([*parts[: first + 1], parts[-1]])
        if column in evidence:
            return evidence[column]
    return ""


def is_rested_on(path: str, used: Collection[str], pairs: Collection[str]) -> bool:
    """
    Whether a run rests on a value.

    Args:
        path: Path of the value.
        used: Names of sections and of values that the run made use of, of rows with their section (`fees.tiers.VIP 1`).
        pairs: Its pairs: values of others are none of its business.
    """
    table = next((head for head in ("margin.tables.", "bands.pairs.") if path.startswith(head)), None)
    if table is not None and not any(path.startswith(f"{table}{pair}.") for pair in pairs):
        return False
    return any(path == each or path.startswith(f"{each}.") for each in used)


#: What is looked up where an order ends or is refused for a reason.
_BEHIND_REASONS: Final[Mapping[str, tuple[str, ...]]] = {
    "price_band": ("bands",),
    "reduce_only": ("reduce_only_tifs",),
    "min_notional": ("min_notional", "reduce_only_is_exempt"),
    "self_trade": ("rules.self_trade", "self_trade_modes"),
    "would_cross": ("rules.post_only_cross",),
    "not_offered": ("lacks", "reduce_only_tifs"),
    "trigger": ("triggers",),
    "switch": ("switch",),
    "too_many_orders": ("max_orders", "max_orders_per_pair"),
    "rate_limit": ("rate_limits",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """
    What a run did at a venue.

    Attributes:
        tiers: Names of the fee tiers that were in force.
        has_own_fees: Whether fees were given in place of the venue's.
        has_fills: Whether anything was executed.
        has_spot: Whether a spot pair was traded.
        has_funding: Whether funding was paid or received, or missed.
        has_leverage: Whether positions were held against margin.
        is_isolated: Whether any of them was isolated.
        is_liquidated: Whether any of them was liquidated.
        has_blocks: Whether what arrives within a block was ordered.
        order_types: Types of its orders.
        statuses: Words with which they ended or were refused.
    """

    tiers: Collection[str] = ()
    has_own_fees: bool = False
    has_fills: bool = False
    has_spot: bool = False
    has_funding: bool = False
    has_leverage: bool = False
    is_isolated: bool = False
    is_liquidated: bool = False
    has_blocks: bool = False
    order_types: Collection[str] = ()
    statuses: Collection[str] = field(default_factory=tuple)


def used_by(use: Use, values: Mapping[str, str]) -> set[str]:
    """Names of sections and values that a run made use of, for `is_rested_on`."""
    used = set()
    if use.has_fills:
        used |= {"fees.decimals", "fees.rounding"}
        if use.has_spot:
            used |= {"fees.in_kind", "fees.spot_weight"}
        if not use.has_own_fees:
            names = ("window_days", "assessed", "at_volume")
            used |= {f"fees.{name}" for name in (names if use.tiers else ("maker", "taker"))}
            used |= {f"fees.tiers.{tier}" for tier in use.tiers}
    for is_used, section in (
        (use.has_funding, "funding"),
        (use.has_leverage, "margin"),
        (use.is_liquidated, "liquidation"),
        (use.has_blocks, "blocks"),
        ("twap" in use.order_types, "twap"),
        (any(each.startswith(("stop", "take profit")) for each in use.order_types), "triggers"),
    ):
        if is_used:
            used.add(section)
    if use.has_leverage:
        used.discard("margin")
        parts = {path.split(".")[1] for path in values if path.startswith("margin.")}
        used |= {f"margin.{part}" for part in parts if use.is_isolated or part != "isolated_funding"}
    for path, words in values.items():
        section, _, name = path.partition(".")
        said = words.partition("{")[0]
        if section == "words" and said and any(status.startswith(said) for status in use.statuses):
            used |= {path, *_BEHIND_REASONS.get(name.partition(" ")[0], ())}
    for status in use.statuses:
        used |= set(_BEHIND_REASONS.get(status, ()))
    return used
