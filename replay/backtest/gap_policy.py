"""
What becomes of orders while a book is stale, and how much rests on that.

Nothing is matched from the message that makes a book stale to the one that makes it whole again. Orders that rest then
are marked uncertain: what was traded meanwhile is not known, so neither is what they are. The policy decides at the
`GAP` message, which comes with the first thing that is received again, live and replayed alike.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from toolkit.errors import ConfigError
from toolkit.keys import PairKey

__all__ = ["NO_BOOK", "Doubt", "GapPolicy", "StaleSpan", "failed_across", "failed_in"]

#: Why nothing was matched on a pair whose book was never whole in all of a run.
NO_BOOK: Final = "no_book"


class GapPolicy(enum.StrEnum):
    """
    What happens to orders across a gap.

    | policy   | orders that rest               | orders that arrive while the book is stale                      |
    |----------|--------------------------------|-----------------------------------------------------------------|
    | `keep`   | stay, uncertain                | limit orders rest, uncertain; what would have to take expires    |
    | `cancel` | are cancelled at `GAP`         | are rejected                                                    |
    | `fail`   | end the run                    | end the run                                                     |
    """

    KEEP = "keep"
    CANCEL = "cancel"
    FAIL = "fail"


def failed_across(key: PairKey, count: int) -> ConfigError:
    """The policy is to fail, and orders rested across a gap."""
    return ConfigError(
        f"{key}: {count} order{'s' if count > 1 else ''} rested across a gap, and the policy is to fail then;"
        " --gaps keep goes on with them, --gaps cancel cancels them"
    )


def failed_in(key: PairKey) -> ConfigError:
    """The policy is to fail, and an order came in a gap."""
    return ConfigError(
        f"{key}: an order came in a gap, and the policy is to fail then;"
        " --gaps keep lets it rest, --gaps cancel refuses it"
    )


class StaleSpan(msgspec.Struct):
    """
    A stretch of a pair's book that could not be believed while orders were open or it was traded before.

    Attributes:
        pair: Place of the pair.
        start_ns: Time of the message that made it stale, on our clock.
        end_ns: To the one that made it whole; None while it lasts.
        cause: Why.
        orders: Ids of the orders that rested, or came, while it lasted.
        since_ns: Time of the last message before it, where something was missing before anybody could know: what was matched
            from there to the start rests on a book that was not whole. None: nothing was.
    """

    pair: int
    start_ns: int
    end_ns: int | None
    cause: str
    orders: list[int]
    since_ns: int | None = None


class Doubt(msgspec.Struct):
    """
    What of a run rests on data that may be doubted.

    Attributes:
        spans: Stretches of stale books, in order of their start; those before a pair's first book are left out.
        bookless: The same of pairs that never had one: nothing could be matched in all of the run.
        uncertain_orders: Orders that rested across one, or came in one.
        uncertain_fills: Executions of such orders.
        clipped_answers: Answers that would have been received before what they tell of, and were held back to that.
    """

    spans: list[StaleSpan] = []
    bookless: list[StaleSpan] = []
    uncertain_orders: int = 0
    uncertain_fills: int = 0
    clipped_answers: int = 0

    def stale_ns(self, until_ns: int, pair: int | None = None) -> int:
        """How long books were stale, up to a time; of one pair, or of all together."""
        return sum(
            max(0, min(until_ns, until_ns if span.end_ns is None else span.end_ns) - span.start_ns)
            for span in self.spans
            if pair is None or span.pair == pair
        )

    def counts(self) -> dict[str, int]:
        """What a result counts of it, by name."""
        return {
            "gaps": len(self.bookless) + len(self.spans),
            "uncertain_orders": self.uncertain_orders,
            "clipped_responses": self.clipped_answers,
        }
