"""
What is asked for by REST because of time: terms of instruments, open interest, settled funding rates.

What was reported decides messages and is a function of frames; when to ask does not, and runs on the monotonic clock.

- Terms (`exchangeInfo`, `fundingInfo`) are read once an hour. They weigh 20 of 6000 a minute on spot, and 1 each on
  futures.
- Open interest is asked for every minute; what is not answered in time is lost.
- A settled rate is owed as soon as `markPrice` names another time for the next settlement. All rates after the last one
  that is known are asked for, so an hour or a day without REST costs none of them. The venue shares 500 requests in five
  minutes between all who ask for rates: one is asked for at each look.

A request that fails is a request again: soon at first, then more rarely.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.venues.binance import wire

__all__ = [
    "FUNDING_TERMS",
    "OPEN_INTEREST",
    "OPEN_INTEREST_S_MAX",
    "PAGE",
    "POLLS",
    "SETTLED",
    "TERMS",
    "Answers",
    "Polls",
    "SettledRates",
]

#: Names of streams that are asked for.
OPEN_INTEREST: Final = "open_interest"
SETTLED: Final = "settled"
TERMS: Final = "instruments"
FUNDING_TERMS: Final = "funding_terms"

OPEN_INTEREST_S: Final = 60.0
#: Silence of that stream that is normal.
OPEN_INTEREST_S_MAX: Final = 180.0
TERMS_S: Final = 3600.0
#: Rates are published some seconds after they were charged.
SETTLED_DELAY_S: Final = 15.0
#: After a request that failed, or whose answer does not have what it was for; twice as long each time, up to the most.
RETRY_S: Final = 60.0
RETRY_S_MAX: Final = 900.0
#: Most rates in one answer.
PAGE: Final = 1000
#: Streams that are asked for, by what is asked.
POLLS: Final = {
    "exchangeInfo": TERMS,
    "fundingInfo": FUNDING_TERMS,
    "openInterest": OPEN_INTEREST,
    "fundingRate": SETTLED,
}


class _Owed(msgspec.Struct):
    """
    Rates that are not known yet.

    Attributes:
        first: Time of the oldest, ms.
        time: Time of the newest that is sure to be owed, ms; there may be more between it and what `markPrice` says.
        ask_mono: When to ask for them, ns.
        retry_s: How long to wait after that, seconds.
        since_seq: The frame by which they became owed: what was asked before it may have been answered before it.
    """

    first: int
    time: int
    ask_mono: int = 0
    retry_s: float = RETRY_S
    since_seq: int = -1


class _State(msgspec.Struct):
    """
    Attributes:
        known: Time of the newest settled rate that was reported, ms, by symbol.
        coming: When the next settlement is, ms, by symbol, as `markPrice` said last.
        owed: Polls that are still to be answered, by symbol.
    """

    known: dict[str, int] = {}
    coming: dict[str, int] = {}
    owed: dict[str, _Owed] = {}


class SettledRates:
    """Which settled funding rates are known, and which are owed."""

    def __init__(self) -> None:
        self._state = _State()

    def is_due(self, symbol: str, time_ms: int, mono_ns: int, seq: int) -> None:
        """
        `markPrice`, in the frame `seq`, says when the next rate is charged: if it named an earlier time before, that
        one was, and so may others have been since then, if it was not heard for long.
        """
        state = self._state
        before = state.coming.get(symbol, 0)
        if time_ms == before:
            return
        state.coming[symbol] = time_ms
        if not 0 < before < time_ms:
            return
        owed = state.owed.get(symbol)
        if owed is None:
            ask_mono = mono_ns + round(SETTLED_DELAY_S * NS_PER_S)
            state.owed[symbol] = _Owed(before, before, ask_mono, since_seq=seq)
        else:
            owed.time, owed.since_seq = max(owed.time, before), seq

    def since(self, symbol: str) -> int:
        """From which time on rates are to be asked for, ms."""
        known = self._state.known.get(symbol, 0)
        return known + 1 if known else self._state.owed[symbol].first

    def due(self, symbols: Iterable[str], mono_ns: int) -> list[str]:
        """The symbol whose rates are to be asked for now, if there is one."""
        for symbol in symbols:
            owed = self._state.owed.get(symbol)
            if owed is not None and mono_ns >= owed.ask_mono:
                owed.ask_mono = mono_ns + round(owed.retry_s * NS_PER_S)
                owed.retry_s = min(2 * owed.retry_s, RETRY_S_MAX)
                return [symbol]
        return []

    def is_new(self, symbol: str, time_ms: int) -> bool:
        """Whether the rate of that time was not reported yet."""
        wire.exact(time_ms)
        return time_ms > self._state.known.get(symbol, 0)

    def is_behind(self, symbol: str, asked_seq: int | None) -> bool:
        """Whether the answer to that request may lack what has become owed since it was made."""
        owed = self._state.owed.get(symbol)
        return owed is not None and asked_seq is not None and asked_seq <= owed.since_seq

    def told(self, symbol: str, newest_ms: int, mono_ns: int, asked_seq: int | None, *, is_all: bool) -> None:
        """
        Rates up to that time have been reported (0: none).

        Args:
            symbol: Instrument that it is of.
            newest_ms: The time.
            mono_ns: Now.
            asked_seq: The frame of the request that was answered; None where the answer does not say.
            is_all: Whether the venue had none after them.
        """
        state = self._state
        if newest_ms:
            state.known[symbol] = newest_ms
        owed = state.owed.get(symbol)
        if owed is None:
            return
        is_behind = self.is_behind(symbol, asked_seq)
        if not is_all and newest_ms:
            owed.ask_mono = 0
        elif not is_behind and state.known.get(symbol, 0) >= owed.time:
            del state.owed[symbol]
        else:
            # The venue answers, so what is missing will be there soon.
            owed.retry_s = RETRY_S
            soon_s = SETTLED_DELAY_S if newest_ms or is_behind else RETRY_S
            owed.ask_mono = min(owed.ask_mono, mono_ns + round(soon_s * NS_PER_S))

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return msgspec.to_builtins(self._state)

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._state = msgspec.convert(state, _State)
        for owed in self._state.owed.values():
            owed.ask_mono = 0  # the clock may be another one


class Answers:
    """
    Which answers are of now: one may come after that to a later request, or after a failure or a sleep that its request
    left before. Requests are named by the frames in which they left, so they are in order.
    """

    def __init__(self) -> None:
        #: By tag: the request that left last, the latest that was answered, and the latest before a failure or a sleep.
        self._sent: dict[str, int] = {}
        self._taken: dict[str, int] = {}
        self._void: dict[str, int] = {}

    def sent(self, tag: str, request_id: int | None) -> None:
        """A request left."""
        if request_id is not None:
            self._sent[tag] = request_id

    def failed(self, tag: str) -> None:
        """One got no answer; which one is not said, so it may have been the last."""
        if tag in self._sent:
            self._void[tag] = self._sent[tag]

    def slept(self) -> None:
        """What was asked before a sleep is answered as of then."""
        self._void.update(self._sent)

    def is_past(self, tag: str, request_id: int | None) -> bool:
        """Whether a later request was answered already; rates are all taken, whenever they come."""
        return request_id is not None and request_id < self._taken.get(tag, -1) and not tag.startswith("fundingRate")

    def took(self, tag: str, request_id: int | None) -> bool:
        """An answer was taken; returns whether its request left after the last failure and the last sleep."""
        if request_id is None:
            return True
        self._taken[tag] = request_id
        return request_id > self._void.get(tag, -1)

    def export(self) -> Any:
        """For a checkpoint."""
        return {"sent": dict(self._sent), "taken": dict(self._taken), "void": dict(self._void)}

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._sent, self._taken, self._void = (dict(state[name]) for name in ("sent", "taken", "void"))


class Polls:
    """When to ask for terms and open interest."""

    def __init__(self) -> None:
        self._terms_mono: int | None = None
        self._open_interest_mono = 0
        self._retry_s = RETRY_S

    def slept(self, mono_ns: int) -> None:
        """The machine slept, and the monotonic clock stood still: everything is asked for now."""
        self._terms_mono = mono_ns
        self._open_interest_mono = mono_ns

    def are_terms_due(self, mono_ns: int) -> bool:
        """Whether to ask for terms now; they were read when the session began."""
        if self._terms_mono is None:
            self._terms_mono = mono_ns + round(TERMS_S * NS_PER_S)
        if mono_ns < self._terms_mono:
            return False
        self._terms_mono = mono_ns + round(TERMS_S * NS_PER_S)
        return True

    def terms_failed(self, mono_ns: int) -> None:
        """A request for terms was given up."""
        self._terms_mono = mono_ns + round(self._retry_s * NS_PER_S)
        self._retry_s = min(2 * self._retry_s, RETRY_S_MAX)

    def terms_came(self) -> None:
        """A request for terms was answered."""
        self._retry_s = RETRY_S

    def is_open_interest_due(self, mono_ns: int) -> bool:
        """Whether to ask for open interest now."""
        if mono_ns < self._open_interest_mono:
            return False
        self._open_interest_mono = mono_ns + round(OPEN_INTEREST_S * NS_PER_S)
        return True
