"""A number of a result with its unit and what it means, and how numbers are written."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import msgspec

from replay.results.run_info import RunInfo

__all__ = ["Metric", "as_json", "length", "money", "percent", "signed", "totals_of"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """
    One number.

    Attributes:
        name: Name for programs.
        title: Title for people.
        value: The number; amounts are exact decimals. None: there is none.
        unit: Such as `USDC` or `share`; empty for a count.
        definition: Definition in a sentence.
        source: Tables of the result, or of the recording that was played, from which it is computed.
        wallet: The account that it is of; empty for the whole run.
    """

    name: str
    title: str
    value: Decimal | float | int | str | None
    unit: str
    definition: str
    source: str = ""
    wallet: str = ""

    @property
    def text(self) -> str:
        """The number as it is shown."""
        match self.value:
            case None:
                return "-"
            case str():
                return self.value
            case Decimal():
                return f"{money(self.value)} {self.unit}".rstrip()
            case float() if self.unit == "share":
                return percent(self.value)
            case float() if self.unit == "s":
                return length(self.value)
            case float():
                return f"{self.value:,.6g} {self.unit}".rstrip()
            case _:
                return f"{self.value:,} {self.unit}".rstrip()


def money(value: Decimal) -> str:
    """An amount with as many digits as it takes to tell small ones apart: two at least, eight at most."""
    with localcontext(prec=200):
        size = abs(value)
        places = 2 if size >= 1000 else 4 if size >= 1 else 8
        rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
        text = f"{rounded:,f}"
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    text = f"{whole}.{fraction.ljust(2, '0')}"
    return text.removeprefix("-") if not any(digit in "123456789" for digit in text) else text


def percent(value: float) -> str:
    """A share as per cent, to three digits; what is not all of it does not look like it."""
    if 0.9995 < value < 1:
        return "above 99.9 %"
    return f"{Decimal(f'{value * 100:.3g}'):,f} %"


def length(seconds: float) -> str:
    """A length of time, such as `1 h 5 min` or `1.25 s`."""
    if seconds < 60:
        return f"{seconds:.4g} s"
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def signed(value: Decimal) -> str:
    """An amount that is added to others: with its sign."""
    return f"+{money(value)}" if value > 0 else money(value)


def totals_of(info: RunInfo) -> dict[str, tuple[Decimal, Decimal]]:
    """Net profit and fees of all accounts together, by currency."""
    totals: dict[str, tuple[Decimal, Decimal]] = {}
    with localcontext(prec=200):
        for account in info.accounts:
            net, fees = totals.get(account.asset, (Decimal(0), Decimal(0)))
            totals[account.asset] = (net + account.net, fees + account.fees)
    return totals


def as_json(metric: Metric) -> dict[str, Any]:
    """A metric for programs: exact amounts as text."""
    value = f"{metric.value:f}" if isinstance(metric.value, Decimal) else metric.value
    found = {"name": metric.name, "value": value, "unit": metric.unit, "definition": metric.definition}
    found["source"] = metric.source
    return {**found, "wallet": metric.wallet} if metric.wallet else found
