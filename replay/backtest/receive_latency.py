"""
Latency on our receive clock: when a request meets the market as we receive it, and when we hear of what came of it.

The venue lives on the receive clock here: its market acts when a frame is received, which is the feed's delay f after it
acted in truth. A request that takes e to the venue is matched there at t + e; the market of that moment is seen at
t + e + f, so that is where it meets the tape. An answer that takes r is received at that time + r - f, and never before
the frame that caused it: where r is less than f it is held back, and counted.

| model       | a request sent at t meets the tape at | the answer to what happens at x is received at |
|-------------|---------------------------------------|------------------------------------------------|
| constant    | t + entry, as given                   | x + response, as given                         |
| feed        | t + 2 f + what is added               | x + what is added                              |
| round trips | t + e(t) + f                          | x + max(0, r(x) - f)                           |

f is the delay of the venue's fastest stream of late: of each form of the book, and of the trades, that of its newest
message, if it came within a second; a full book that is sent now and then is late by itself. Live nothing newer is known.
Of recorded round trips the venue's clock cancels out, of `feed` it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from replay.backtest.latency import InterpolatedLatency
from replay.market.layout import RequestCode
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError
from toolkit.messages import FORM_REST, BestQuote, BookDiff, BookSnapshot, Message, Trade

__all__ = ["ConstantReceiveLatency", "FeedReceiveLatency", "LatencyModel", "TripReceiveLatency"]


_TRADES: Final = "trades"


class LatencyModel(Protocol):
    """
    How long requests and answers take, on the clock that recorded.

    Attributes:
        follows_feed: Whether it has to see every message.
    """

    follows_feed: bool

    def observe(self, message: Message) -> None:
        """See a message of the market, before anything is sent because of it."""

    def entry_ns(self, venue: str, code: RequestCode, sent_ns: int) -> int:
        """From sending to matching; below 0: the request is lost, and its sender hears of that after so long."""

    def response_ns(self, venue: str, code: RequestCode | None, at_ns: int) -> int:
        """From what happens to our hearing of it; below 0: before it was received. `code` None: no request did it."""


def check_lengths(lengths: Mapping[str, int]) -> None:
    """Raise ConfigError for a length of time below 0."""
    for name, value in lengths.items():
        if value < 0:
            raise ConfigError(f"{name} latency is {value} ns, expected 0 or more, for instance entry=3.5ms")


class ConstantReceiveLatency:
    """
    Always the same, by what is asked for.

    Args:
        entry: ns, from us to the venue.
        response: ns, back.
        entries: The same for some kinds of requests.
        responses: Latencies of answers to them.

    Raises ConfigError where one is below 0.
    """

    follows_feed = False

    def __init__(
        self,
        *,
        entry: int,
        response: int,
        entries: Mapping[RequestCode, int] | None = None,
        responses: Mapping[RequestCode, int] | None = None,
    ) -> None:
        self._entries = dict.fromkeys(RequestCode, entry) | dict(entries or {})
        self._responses: dict[RequestCode | None, int] = dict.fromkeys(RequestCode, response)
        self._responses |= {None: response} | dict(responses or {})
        check_lengths({f"{code.name.lower()}.entry": value for code, value in self._entries.items()})
        check_lengths(
            {f"{code.name.lower() if code is not None else 'fill'}.response": v for code, v in self._responses.items()}
        )

    def observe(self, message: Message) -> None:
        pass

    def entry_ns(self, venue: str, code: RequestCode, sent_ns: int) -> int:
        return self._entries[code]

    def response_ns(self, venue: str, code: RequestCode | None, at_ns: int) -> int:
        return self._responses[code]


class _FeedDelays:
    """How long the feed of each venue takes, ns."""

    def __init__(self, clock_offset_ns: int) -> None:
        self._offset = clock_offset_ns
        #: Of each stream of a venue when its newest message was received, and its delay.
        self._newest: dict[str, dict[str, tuple[int, int]]] = {}

    def observe(self, message: Message) -> None:
        if message.ts_event is None or not isinstance(message, BookDiff | BookSnapshot | BestQuote | Trade):
            return
        stream = _TRADES
        if not isinstance(message, Trade):
            stream = message.form
            if stream == FORM_REST:
                return
        elif message.is_history or message.is_duplicate:
            return
        delay = message.ts_recv + self._offset - message.ts_event
        self._newest.setdefault(message.venue, {})[stream] = (message.ts_recv, delay)

    def of(self, venue: str) -> int:
        """The delay of its fastest stream; 0 before it was received."""
        streams = self._newest.get(venue)
        if streams is None:
            return 0
        since_ns = max(recv for recv, _ in streams.values()) - NS_PER_S
        return min(delay for recv, delay in streams.values() if recv >= since_ns)


class FeedReceiveLatency:
    """
    As long each way as the feed takes, and something added.

    Args:
        constant: Latency that is added to the feed's, each way.
        clock_offset_ns: The venue's clock less ours.
        times: Factor on the feed's delay, as far as it stands for the way of requests.
    """

    follows_feed = True

    def __init__(self, constant: ConstantReceiveLatency, *, clock_offset_ns: int = 0, times: float = 1.0) -> None:
        self._added = constant
        self._times = times
        self._offset = clock_offset_ns
        self._delays = _FeedDelays(clock_offset_ns)

    def observe(self, message: Message) -> None:
        self._delays.observe(message)

    def entry_ns(self, venue: str, code: RequestCode, sent_ns: int) -> int:
        """Raises ConfigError where the feed's delay and what is added make less than 0."""
        delay = self._delays.of(venue)
        added = self._added.entry_ns(venue, code, sent_ns)
        if delay + added < 0:
            raise ConfigError(
                f"the feed's delay on {venue} and what is added make {delay + added} ns, expected 0 or more: by the"
                f" setting its clock is {self._offset} ns ahead of ours, and {self._offset - delay - added} ns would do"
                " (--clock-offset); a constant latency, such as entry=3.5ms,response=2ms, needs none"
            )
        # Once until what it meets is seen by us, and once for its own way.
        return max(0, delay + round(self._times * delay) + added)

    def response_ns(self, venue: str, code: RequestCode | None, at_ns: int) -> int:
        return self._added.response_ns(venue, code, at_ns)


class TripReceiveLatency:
    """
    Between recorded round trips of orders.

    Args:
        trips: On the clocks of the recording; the offset between them is of no consequence.
        clock_offset_ns: The venue's clock less ours.
        times: Factor on both ways.
    """

    follows_feed = True

    def __init__(self, trips: InterpolatedLatency, *, clock_offset_ns: int = 0, times: float = 1.0) -> None:
        self._trips = trips
        self._times = times
        self._delays = _FeedDelays(clock_offset_ns)
        self._offset = clock_offset_ns

    def observe(self, message: Message) -> None:
        self._delays.observe(message)

    def entry_ns(self, venue: str, code: RequestCode, sent_ns: int) -> int:
        """Raises ConfigError where a request would meet a market before it was sent."""
        entry = self._trips.entry_ns(sent_ns)
        if entry < 0:
            return entry
        total = self._scaled(entry) + self._delays.of(venue)
        if total < 0:
            raise ConfigError(
                f"a round trip and the feed's delay on {venue} make {total} ns to the venue, expected 0 or more; were"
                " the round trips recorded on the clock of this recording?"
            )
        return total

    def response_ns(self, venue: str, code: RequestCode | None, at_ns: int) -> int:
        delay = self._delays.of(venue)
        return self._scaled(self._trips.response_ns(at_ns - delay + self._offset)) - delay

    def _scaled(self, length_ns: int) -> int:
        return length_ns if self._times == 1 else round(length_ns * self._times)
