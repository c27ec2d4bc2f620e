"""
What dYdX v4's errors say: they come as English sentences, some with and most without the subscription they mean.

(Indexer, services/socks/src/lib/subscription.ts and websocket/index.ts.)
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from toolkit.venues.dydx_v4.numbering import Outstanding
from toolkit.venues.dydx_v4.wire import Envelope

__all__ = ["Refusal", "Verdict", "is_about_jurisdiction", "read_error"]


class Verdict(enum.Enum):
    """What to do about an error."""

    #: Asking again would give the same.
    NEVER = enum.auto()
    #: Ask again later.
    LATER = enum.auto()
    #: The venue takes us for subscribed: unsubscribe, then ask again.
    STUCK = enum.auto()
    #: Nothing; the connection will be closed, or it was no request of ours.
    NOTHING = enum.auto()


class Refusal(msgspec.Struct, frozen=True):
    """
    An error, understood.

    Attributes:
        verdict: Reaction that it asks for.
        channel: The venue's channel it means; empty where it does not say.
        id: The subscription's id; None where it does not say.
        retry_s: How long to wait before asking again.
    """

    verdict: Verdict
    channel: str = ""
    id: str | None = None
    retry_s: float = 0.0

    def of(self, outstanding: Sequence[Outstanding]) -> Outstanding | None:
        """The request of ours that it answers; None where that is not certain."""
        if self.id is not None:
            return next((request for request in outstanding if request.id == self.id), None)
        return outstanding[0] if len(outstanding) == 1 else None


#: The venue reads the snapshot from a database that lags at times.
RETRY_S: Final = 10.0

#: Tickers hold dashes, commas and slashes; a channel's name holds none of them.
_TABLE: Final = (
    (r"Invalid subscription id for channel: \((?P<channel>\w+)-(?P<id>.*)\)", Verdict.NEVER, 0.0),
    (r"Invalid id: (?P<id>.*)", Verdict.NEVER, 0.0),
    (r"Invalid channel: (?P<channel>.*)", Verdict.NEVER, 0.0),
    (r"Per-connection subscription limit reached for (?P<channel>\w+) ?\(limit=.*", Verdict.NEVER, 0.0),
    (
        r"Invalid subscribe message: already subscribed \((?P<channel>\w+)-(?P<id>.*)\)",
        Verdict.STUCK,
        RETRY_S,
    ),
    (r"Internal error, could not fetch data for subscription: (?P<channel>\w+)\.?", Verdict.LATER, RETRY_S),
    # The venue closes the connection next.
    (r"Too many subscribe attempts for channel (?P<channel>\w+?)(-(?P<id>.*?))?\. .*", Verdict.NOTHING, 0.0),
)
_PATTERNS: Final = tuple((re.compile(pattern), verdict, retry_s) for pattern, verdict, retry_s in _TABLE)


def is_about_jurisdiction(text: str) -> bool:
    """Whether the venue says that it does not serve accounts where we are."""
    return "jurisdiction" in text


def read_error(envelope: Envelope) -> Refusal:
    """What an error means; `Verdict.NOTHING` for a sentence that is not known."""
    for pattern, verdict, retry_s in _PATTERNS:
        match = pattern.fullmatch(envelope.message)
        if match is not None:
            groups = match.groupdict()
            channel = envelope.channel or groups.get("channel") or ""
            return Refusal(verdict, channel, envelope.id or groups.get("id"), retry_s)
    if is_about_jurisdiction(envelope.message):
        return Refusal(Verdict.NEVER, envelope.channel, envelope.id or None)
    return Refusal(Verdict.NOTHING, envelope.channel, envelope.id or None)
