"""Fees by tier: what a venue takes of an execution follows from the volume of the last days, which a run counts."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from replay.ledger.money import CASH_DECIMALS, Rounding, amount, decimals_of, rate_units, rounded_share, units_of
from replay.market.layout import Role
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError

__all__ = ["Assessed", "FeeMeter", "FeeSchedule", "FeeTier", "TierChange", "tiers_of_fee"]

_DAY_NS: Final = 86_400 * NS_PER_S


class Assessed(enum.StrEnum):
    """When a venue looks at the volume."""

    #: At the beginning of each day, UTC, at the days before it.
    DAILY = "daily"
    #: At each execution, at today and the days before.
    ALWAYS = "always"


class FeeTier(msgspec.Struct, frozen=True, kw_only=True):
    """
    One row of a venue's table.

    Attributes:
        name: The venue's, or its number from 0.
        maker: Fee of a maker, a share of the value; negative: a rebate.
        taker: Fee of a taker, likewise.
        volume: Volume within the window that it takes, quote currency; None: it is not had by volume alone, and is in
            force where it is asked for by name.
        spot_maker: Maker fee of spot pairs, where that is another; None: it is not, or is not known.
        spot_taker: Taker fee of spot pairs, likewise.
    """

    name: str
    maker: Decimal
    taker: Decimal
    volume: Decimal | None = None
    spot_maker: Decimal | None = None
    spot_taker: Decimal | None = None

    def rate(self, role: int, *, is_spot: bool) -> Decimal:
        """What an execution in a role costs."""
        is_maker = role == Role.MAKER
        ordinary, spot = (self.maker, self.spot_maker) if is_maker else (self.taker, self.spot_taker)
        return spot if is_spot and spot is not None else ordinary


def tiers_of_fee(
    tiers: Sequence[FeeTier], rounding: Rounding, role: int, worth: int, fee: int, *, is_spot: bool = False
) -> list[str]:
    """
    The tiers by which an execution of that worth costs that fee, to the last digit; none: no tier explains it.

    Args:
        tiers: Tiers of a venue.
        rounding: Its way to round fees.
        role: `Role.MAKER` or `Role.TAKER`.
        worth: Worth of the execution, positive, in units of cash.
        fee: Fee as it was printed, in units of cash.
        is_spot: Whether it was of a spot pair.
    """
    return [
        tier.name
        for tier in tiers
        if rounded_share(worth, rate_units(tier.rate(role, is_spot=is_spot)), rounding) == fee
    ]


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """
    The table.

    Attributes:
        tiers: The lowest first.
        window_days: Days over which volume is summed.
        assessed: When.
        at_volume: Whether exactly a tier's volume is enough for it; else it takes more.
        spot_weight: How often volume of spot pairs counts.

    Raises ConfigError for tiers that do not ascend.
    """

    tiers: tuple[FeeTier, ...]
    window_days: int
    assessed: Assessed = Assessed.DAILY
    at_volume: bool = False
    spot_weight: int = 1

    def __post_init__(self) -> None:
        steps = [tier.volume for tier in self.tiers if tier.volume is not None]
        if not steps or steps[0] != 0 or any(low >= high for low, high in itertools.pairwise(steps)):
            raise ConfigError(f"fee tiers begin at {steps}, expected volumes that ascend from 0")
        if self.window_days < 1:
            raise ConfigError(f"fee tiers look {self.window_days} days back, expected 1 or more")
        if len({tier.name for tier in self.tiers}) != len(self.tiers):
            raise ConfigError("two fee tiers have one name")

    def tier(self, name: str) -> FeeTier:
        """The tier of that name. Raises ConfigError, with the names, where there is none."""
        found = next((tier for tier in self.tiers if tier.name == name), None)
        if found is None:
            raise ConfigError(f"no fee tier {name!r}, expected one of {', '.join(tier.name for tier in self.tiers)}")
        return found

    def by_volume(self, volume: int) -> FeeTier:
        """The tier that a volume, in units of cash, gives."""
        found = self.tiers[0]
        for tier in self.tiers:
            if tier.volume is None:
                continue
            needed = units_of(tier.volume, CASH_DECIMALS)
            if volume > needed or (volume == needed and (self.at_volume or not needed)):
                found = tier
        return found


class TierChange(msgspec.Struct, frozen=True, gc=False):
    """
    A tier that is in force from a time on.

    Attributes:
        time_ns: When.
        venue: Name of the venue.
        name: Name of the tier.
        maker: Its fee.
        taker: Its fee.
        volume: Volume within the window at that time, quote currency.
        window_days: How long that is.
    """

    time_ns: int
    venue: str
    name: str
    maker: Decimal
    taker: Decimal
    volume: Decimal
    window_days: int


class FeeMeter:
    """
    Counts the volume of one account at one venue, and says which tier is in force.

    Args:
        schedule: The venue's table.
        venue: Its name, for what is said of changes.
        start_ns: When counting begins.
        tier: Name of the tier at the start, below which it never falls; None: by volume alone.
        volume: Volume of the window before the start, quote currency: spread evenly over its days, which leave the window
            one by one.

    Raises ConfigError for a tier that there is not, or a volume that is none.

    Attributes:
        changes: The tier at the start, and each one that followed, with its time.
    """

    def __init__(
        self, schedule: FeeSchedule, venue: str, start_ns: int, *, tier: str | None = None, volume: Decimal = Decimal(0)
    ) -> None:
        if not volume.is_finite() or volume < 0 or decimals_of(volume) > CASH_DECIMALS:
            raise ConfigError(f"fee volume is {volume}, expected a number of 0 or more, for instance 6000000")
        self._schedule = schedule
        self._venue = venue
        self._floor = None if tier is None else schedule.tier(tier)
        self._day = start_ns // _DAY_NS
        units, days = units_of(volume, CASH_DECIMALS), schedule.window_days
        each, rest = divmod(units, days)
        newest = self._day if schedule.assessed is Assessed.ALWAYS else self._day - 1
        #: Volume by day.
        self._days: dict[int, int] = {newest - back: each for back in range(days)} if units else {}
        if units:
            self._days[newest] += rest
        self.changes: list[TierChange] = []
        self._tier = self._assess(self._day)
        self._note(start_ns)

    @property
    def tier(self) -> FeeTier:
        """The tier in force, as of the last execution."""
        return self._tier

    def at(self, time_ns: int) -> FeeTier:
        """The tier in force at a time, which is no earlier than the last one asked for."""
        day = time_ns // _DAY_NS
        while self._day < day:
            # Without an execution nothing more is counted: beyond the window every day is like the one before.
            self._day = self._day + 1 if self._days else day
            self._days = {
                each: volume for each, volume in self._days.items() if each >= self._day - self._schedule.window_days
            }
            self._become(self._assess(self._day), self._day * _DAY_NS)
        if self._schedule.assessed is Assessed.ALWAYS:
            self._become(self._assess(self._day), time_ns)
        return self._tier

    def count(self, time_ns: int, value: int, *, is_spot: bool = False) -> None:
        """Count an execution that is worth so many units of cash."""
        day = time_ns // _DAY_NS
        value *= self._schedule.spot_weight if is_spot else 1
        self._days[day] = self._days.get(day, 0) + value

    def volume(self) -> int:
        """Volume within the window, in units of cash, as it is looked at."""
        return self._sum(self._day)

    def _sum(self, day: int) -> int:
        last = day if self._schedule.assessed is Assessed.ALWAYS else day - 1
        first = last - self._schedule.window_days + 1
        return sum(volume for each, volume in self._days.items() if first <= each <= last)

    def _assess(self, day: int) -> FeeTier:
        found = self._schedule.by_volume(self._sum(day))
        floor = self._floor
        if floor is None:
            return found
        if floor.volume is None or found.volume is None or found.volume < floor.volume:
            return floor
        return found

    def _become(self, tier: FeeTier, time_ns: int) -> None:
        if tier is not self._tier:
            self._tier = tier
            self._note(time_ns)

    def _note(self, time_ns: int) -> None:
        tier = self._tier
        volume = amount(self._sum(self._day))
        self.changes.append(
            TierChange(time_ns, self._venue, tier.name, tier.maker, tier.taker, volume, self._schedule.window_days)
        )
