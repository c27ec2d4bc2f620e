"""What the spreads of a list of quotes are, worked out slowly and plainly, with fractions instead of floats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Quote:
    """A row of `top`; prices as decimal text."""

    time: int | None
    bid: str | None
    ask: str | None
    is_stale: bool = False
    symbol: str = "BTC"


@dataclass(frozen=True)
class Stretch:
    quote: Quote
    start: int
    stop: int
    is_change: bool

    @property
    def length(self) -> int:
        return self.stop - self.start

    @property
    def state(self) -> str:
        if self.quote.is_stale:
            return "stale"
        if self.quote.bid is None or self.quote.ask is None:
            return "one_sided"
        return "crossed" if Decimal(self.quote.bid) >= Decimal(self.quote.ask) else "valid"

    @property
    def spread(self) -> Fraction:
        return Fraction(self.quote.ask or 0) - Fraction(self.quote.bid or 0)

    @property
    def mid(self) -> Fraction:
        return (Fraction(self.quote.ask or 0) + Fraction(self.quote.bid or 0)) / 2

    @property
    def bps(self) -> Fraction:
        return self.spread / self.mid * 10_000


def stretches(
    quotes: Sequence[Quote], clock: str, start: int | None, end: int, *, counts_end: bool
) -> Iterator[Stretch]:
    """Of one instrument's quotes in the order of capture, the time for which each stood."""
    times: list[int | None] = []
    newest: int | None = None
    for quote in quotes:
        if clock == "event":
            if quote.time is not None:
                newest = quote.time if newest is None else max(newest, quote.time)
            times.append(newest)
        else:
            times.append(quote.time)
    for number, quote in enumerate(quotes):
        time = times[number]
        if time is None:
            continue
        following = times[number + 1] if number + 1 < len(times) else end
        assert following is not None
        lower = time if start is None else max(time, start)
        upper = min(following, end)
        is_change = (start is None or time >= start) and (time < end or (counts_end and time == end))
        if upper > lower:
            yield Stretch(quote, lower, upper, is_change)
        elif is_change:
            yield Stretch(quote, min(lower, end), min(lower, end), is_change)


def summary(found: Sequence[Stretch]) -> dict[str, Any]:
    """The figures of `analysis.spreads` for one instrument, exactly."""
    covered = sum(one.length for one in found)
    lengths = {
        state: sum(one.length for one in found if one.state == state)
        for state in ("valid", "stale", "one_sided", "crossed")
    }
    result: dict[str, Any] = {
        "covered_s": Fraction(covered, 10**9),
        "valid_s": Fraction(lengths["valid"], 10**9),
        "top_changes": sum(one.is_change for one in found),
    }
    for state in ("stale", "one_sided", "crossed"):
        result[f"{state}_share"] = Fraction(lengths[state], covered) if covered else None
    valid = [one for one in found if one.state == "valid" and one.length]
    result["mid_first"] = valid[0].mid if valid else None
    result["mid_last"] = valid[-1].mid if valid else None
    result["mid_mean"] = mean([(one.mid, one.length) for one in valid])
    for name in ("spread", "bps"):
        weighted = sorted((getattr(one, name), one.length) for one in valid)
        label = "spread" if name == "spread" else "spread_bps"
        result[f"{label}_mean"] = mean(weighted)
        result[f"{label}_min"] = weighted[0][0] if weighted else None
        result[f"{label}_max"] = weighted[-1][0] if weighted else None
        for key, percent in {"p05": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95, "p99": 99}.items():
            result[f"{label}_{key}"] = quantile(weighted, percent)
    return result


def mean(weighted: Sequence[tuple[Fraction, int]]) -> Fraction | None:
    total = sum(length for _, length in weighted)
    return sum((value * length for value, length in weighted), Fraction(0)) / total if total else None


def quantile(weighted: Sequence[tuple[Fraction, int]], percent: int) -> Fraction | None:
    """Nanosecond by nanosecond: the first value that was not exceeded in so many of them."""
    total = sum(length for _, length in weighted)
    passed = 0
    for value, length in sorted(weighted):
        passed += length
        if Fraction(passed, total) >= Fraction(percent, 100):
            return value
    return None


def series(found: Sequence[Stretch], every: int) -> dict[int, dict[str, Any]]:
    """The figures of `analysis.spread_series` for one instrument, by the start of the bucket."""
    buckets: dict[int, list[tuple[Stretch, int, bool]]] = {}
    for one in found:
        first = one.start // every
        last = max(first, (one.stop - 1) // every)
        for bucket in range(first, last + 1):
            length = min(one.stop, (bucket + 1) * every) - max(one.start, bucket * every)
            buckets.setdefault(bucket, []).append((one, length, one.is_change and bucket == first))
    result = {}
    for bucket, pieces in sorted(buckets.items()):
        covered = sum(length for _, length, _ in pieces)
        valid = [(one, length) for one, length, _ in pieces if one.state == "valid" and length]
        mids = [one.mid for one, _ in valid]
        row: dict[str, Any] = {
            "spread": mean([(one.spread, length) for one, length in valid]),
            "spread_bps": mean([(one.bps, length) for one, length in valid]),
            "spread_bps_max": max((one.bps for one, _ in valid), default=None),
            "mid_open": mids[0] if mids else None,
            "mid_high": max(mids, default=None),
            "mid_low": min(mids, default=None),
            "mid_close": mids[-1] if mids else None,
            "covered_s": Fraction(covered, 10**9),
            "top_changes": sum(is_change for _, _, is_change in pieces),
        }
        for state in ("stale", "one_sided", "crossed"):
            in_state = sum(length for one, length, _ in pieces if one.state == state)
            row[f"{state}_share"] = Fraction(in_state, covered) if covered else None
        result[bucket * every] = row
    return result
