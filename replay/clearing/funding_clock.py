"""
When funding of a contract is settled, and by which rate and price, from what messages say.

It is settled at the first message whose time is at or after the instant, by the last rate and price before it. Where the venue
says afterwards what it has settled by, and that is something else, the difference is settled then.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from replay.ledger.margin_rules import FundingRules, ReferencePrice
from toolkit.accounts.exact_sums import exact
from toolkit.clock import NS_PER_S
from toolkit.messages import FundingInfo, FundingKind

__all__ = ["FundingClock", "FundingDue"]

#: So much later than its instant a venue stamps what it has settled.
_STAMPED_LATE_NS: Final = 60 * NS_PER_S


class FundingDue(msgspec.Struct, frozen=True, gc=False):
    """
    A settlement.

    Attributes:
        instant_ns: The time whose positions it is about.
        rate: Rate that is paid by.
        price: And by which price.
        is_correction: Whether it was settled already, by another rate or price.
    """

    instant_ns: int
    rate: Decimal
    price: Decimal
    is_correction: bool = False


class FundingClock:
    """
    One contract.

    Args:
        rules: Rules of its venue.

    Attributes:
        interval_ns: Time between two instants: as messages say, else as the rules do.
        next_ns: The instant to come; None before the first message.
        settled_ns: The newest that was settled; None before the first.
        missed: Instants of which nothing had been received for a whole period, as often as they were passed.
        middle: Price that is assumed where the venue has said none; None: none is.
    """

    __slots__ = ("_has_rate", "_price", "_rate", "_rules", "interval_ns", "middle", "missed", "next_ns", "settled_ns")

    def __init__(self, rules: FundingRules) -> None:
        self._rules = rules
        self.interval_ns = rules.interval_ns
        #: As messages have them: most are followed by others before anything is settled by them.
        self._rate: float | None = None
        self._price: float | None = None
        self._has_rate = False
        self.middle: Decimal | None = None
        self.next_ns: int | None = None
        self.settled_ns: int | None = None
        self.missed: list[int] = []

    @property
    def is_priced(self) -> bool:
        """Whether the venue has said a price to settle by."""
        return self._price is not None

    @property
    def lacks_price(self) -> bool:
        """Whether there was a rate, and no price was said or assumed to settle by."""
        return self._has_rate and self._price is None and self.middle is None

    def hear(self, message: FundingInfo) -> FundingDue | None:
        """What is settled now that this message has come."""
        at_ns = message.ts_recv if message.ts_event is None else message.ts_event
        self._has_rate |= message.funding_rate is not None
        if message.kind is FundingKind.SETTLED:
            return self._hear_settled(at_ns, message)
        due = self._pass(at_ns)
        if message.funding_rate is not None:
            self._rate = message.funding_rate
        self._price = self._said(message) or self._price
        if message.funding_interval_s:
            self.interval_ns = message.funding_interval_s * NS_PER_S
        # Other facts of a contract come as messages of the same kind, and say nothing of its funding.
        if due is not None or message.funding_rate is not None or self.next_ns is None or at_ns >= self.next_ns:
            self._look_ahead(at_ns, message.next_funding_ts)
        return due

    def _pass(self, at_ns: int) -> FundingDue | None:
        """The instant that lies before a time, with what is known of it."""
        instant_ns = self.next_ns
        if instant_ns is None or at_ns < instant_ns:
            return None
        later = (at_ns - instant_ns) // self.interval_ns
        self.missed += [instant_ns + (each + 1) * self.interval_ns for each in range(later)]
        self.settled_ns = instant_ns + later * self.interval_ns
        price = self._price_of(self._price)
        if self._rate is None or price is None:
            self.missed.append(instant_ns)
            return None
        return FundingDue(instant_ns, exact(self._rate), price)

    def _look_ahead(self, at_ns: int, said_ns: int | None) -> None:
        settled_ns = -1 if self.settled_ns is None else self.settled_ns
        if said_ns is not None and said_ns > settled_ns:
            self.next_ns = said_ns
        else:
            self.next_ns = (max(at_ns, settled_ns) // self.interval_ns + 1) * self.interval_ns

    def _hear_settled(self, at_ns: int, message: FundingInfo) -> FundingDue | None:
        if message.funding_rate is None:
            return None
        early_ns = at_ns // self.interval_ns * self.interval_ns
        instant_ns = early_ns if at_ns - early_ns <= _STAMPED_LATE_NS else at_ns
        if self.settled_ns is not None and instant_ns < self.settled_ns:
            return None  # history
        price = self._price_of(self._said(message) or self._price)
        if price is None:
            return None
        is_correction = instant_ns == self.settled_ns
        if is_correction and instant_ns in self.missed:
            self.missed.remove(instant_ns)
        if not is_correction:
            self.settled_ns = instant_ns
            if self.next_ns is not None and self.next_ns <= instant_ns:
                self.next_ns = instant_ns + self.interval_ns
        return FundingDue(instant_ns, exact(message.funding_rate), price, is_correction)

    def _price_of(self, said: float | None) -> Decimal | None:
        return self.middle if said is None else exact(said)

    def _said(self, message: FundingInfo) -> float | None:
        return message.index_price if self._rules.price is ReferencePrice.INDEX else message.mark_price
