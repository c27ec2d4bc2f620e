"""
Which of the venue's coins are recorded, and what their terms are, now and later.

Terms change while a recording runs: a tick, a lot, a leverage, a delisting. So the metadata that describes the recorded
coins is polled, and what has changed is reported as a new instrument row.

What is missing costs only what it would have said. A reply that does not come is waited for where a recorded pair
cannot be named without it, and nowhere else; an entry that is odd is left out. And what was recorded once is so for the
recording's life: a coin that vanishes from the listing is an event, and subscribed again when it is back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError, SymbolError, VenueRefused
from toolkit.frames import Frame
from toolkit.messages import EventKind, Message
from toolkit.protocol import RestCall
from toolkit.venues.hyperliquid.convert import decoded_json, info_call, instrument
from toolkit.venues.hyperliquid.subscriptions import SUBSCRIPTIONS_MAX, what_fits
from toolkit.venues.hyperliquid.symbols import Coin, SymbolTable, dex_of

if TYPE_CHECKING:
    from toolkit.venues.hyperliquid.market import HyperliquidMarketProtocol

__all__ = ["INSTRUMENTS", "METADATA", "Listing"]

#: Replies that describe instruments, by the first word of their tag.
METADATA: Final = frozenset({"meta", "spotMeta", "perpDexs", "outcomeMeta"})
#: Name of the poll, and of the stream in the events about it.
INSTRUMENTS: Final = "instruments"
#: Between two polls, seconds. One costs 20 of the 1,200 that a minute has, for each dex that is recorded.
POLL_S: Final = 600
#: The same after one that was not answered.
RETRY_S: Final = 120
#: Metadata older than this is read again after a lost connection, seconds.
RECONNECT_S_MAX: Final = 300
_WEIGHT: Final = 20


class Listing:
    """
    The coins of one protocol.

    Args:
        protocol: Protocol that it is part of.

    Attributes:
        table: Everything that the metadata listed.
        wanted: Coins that are recorded, in order.
    """

    def __init__(self, protocol: HyperliquidMarketProtocol) -> None:
        self._protocol = protocol
        self._pairs = protocol.options.pairs
        self._needed = _needed(self._pairs)
        self.table = SymbolTable()
        self.wanted: list[str] = []
        #: Whether the coins were chosen; from then on nothing that the metadata says ends the recording.
        self._is_chosen = False
        #: Why a coin, or a dex, is not there at present.
        self._absent: dict[str, str] = {}
        #: Replies that did not come when they were last asked for.
        self._failed: list[str] = []
        self._described: dict[str, Coin] = {}
        self._read_mono = 0
        #: When they were last asked for; decides nothing but requests.
        self._asked_mono: int | None = None

    # -- what is known -----------------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether every reply has come, or is known not to come, and the coins could be chosen without it."""
        return self._is_chosen and not self._outstanding()

    @property
    def active(self) -> list[str]:
        """Coins that can be subscribed now: an unknown one would close the whole socket."""
        return [coin for coin in self.wanted if coin not in self._absent]

    def _outstanding(self) -> list[str]:
        return [tag for tag in self._needed if not self.table.has_reply(tag) and tag not in self._failed]

    # -- requests ----------------------------------------------------------------------------------------------

    def bootstrap(self) -> list[RestCall]:
        """What is asked for before any connection."""
        # HIP-3 dexes are asked for once `perpDexs` has said that they exist: an unknown one is an HTTP 500.
        return [_call(tag) for tag in self._needed if not tag.startswith("meta:")]

    def reconnecting(self, frame: Frame) -> list[RestCall]:
        """What is asked for after a lost connection."""
        if not self.wanted or frame.ts_mono - self._read_mono <= RECONNECT_S_MAX * NS_PER_S:
            return []
        self._asked_mono = frame.ts_mono
        return self.bootstrap()

    def slept(self) -> None:
        """The machine slept: the replies are older than the monotonic clock says, so they are asked for again."""
        self._read_mono = -(max(POLL_S, RECONNECT_S_MAX) + 1) * NS_PER_S
        self._asked_mono = None

    def due(self, mono_ns: int) -> list[RestCall]:
        """The next poll, if it is time for it."""
        if not self._is_chosen or not self.wanted:
            return []
        asked = self._asked_mono if self._asked_mono is not None else self._read_mono
        wait_s = RETRY_S if self._failed else POLL_S
        if 0 <= mono_ns - max(asked, self._read_mono) <= wait_s * NS_PER_S:
            return []
        self._asked_mono = mono_ns
        return [_call(tag) for tag in self._polled()]

    def _polled(self) -> list[str]:
        """The replies that describe what is recorded, and those that failed."""
        tags = dict.fromkeys(_describes(coin) for coin in self.wanted)
        return [*tags, *(tag for tag in self._failed if tag not in tags)]

    # -- replies -----------------------------------------------------------------------------------------------

    def on_reply(self, frame: Frame, tag: str) -> list[Message]:
        """The messages of a metadata reply. Raises ParseError for one that holds nothing of its kind."""
        odd = self.table.update(tag, decoded_json(frame.payload))
        protocol = self._protocol
        messages: list[Message] = []
        protocol.polls.answered(frame, "", INSTRUMENTS, messages)
        self._read_mono = frame.ts_mono
        if tag in self._failed:
            self._failed.remove(tag)
        if tag == "perpDexs":
            self._ask_dexes(frame, messages)
        messages += self._look(frame, len(messages))
        protocol.report_odd(frame, odd, messages)
        return messages

    def on_failure(self, frame: Frame, tag: str, messages: list[Message]) -> None:
        """A metadata request got no answer that is one."""
        if tag not in self._failed:
            self._failed.append(tag)
        if self.table.has_reply(tag):
            self._protocol.polls.failed(frame, "", INSTRUMENTS, messages)
        if tag == "perpDexs" and not self.table.has_reply(tag):
            # It was not said which dexes there are; their own metadata says it too.
            self._protocol.ask([_call(each) for each in self._needed if each.startswith("meta:")])
        messages += self._look(frame, len(messages))

    def _ask_dexes(self, frame: Frame, messages: list[Message]) -> None:
        for dex in sorted({dex_of(name) for name in self._pairs} - {""}):
            if self.table.has_dex(dex):
                self._absent.pop(f"{dex}:", None)
                self._protocol.ask([_call(f"meta:{dex}")])
            elif not self._is_chosen:
                if self._protocol.failure is None:
                    known = ", ".join(self.table.dexes()) or "none"
                    text = f"the venue lists no dex {dex!r}, expected one of {known}"
                    self._protocol.failure = SymbolError(text)
            elif f"{dex}:" not in self._absent:
                # One answer without it is no proof: what is known of its coins holds.
                self._absent[f"{dex}:"] = text = f"the venue no longer lists the dex {dex!r}"
                messages.append(self._refused(frame, len(messages), text))

    def _look(self, frame: Frame, sub_seq: int) -> list[Message]:
        """What the metadata means to the recording now."""
        messages: list[Message] = []
        if self._outstanding() or self._protocol.failure is not None:
            return messages if self._pairs else self._described_now(frame, sub_seq)
        if not self._is_chosen:
            self._choose(frame, sub_seq, messages)
        elif self._pairs:
            self._compare(frame, sub_seq, messages)
        return messages + self._described_now(frame, sub_seq + len(messages))

    def _choose(self, frame: Frame, sub_seq: int, messages: list[Message]) -> None:
        """Which coins are recorded, at the beginning; what is wrong with the pairs asked for ends it here."""
        protocol = self._protocol
        wanted: list[str] = []
        for name in self._pairs:
            try:
                coin = self.table.coin(name)
            except SymbolError as exc:
                # A reply that did not come may be the one that names it: then that is the failure.
                if not self._failed:
                    protocol.failure = exc
                return
            listed = self.table.get(coin)
            if listed is not None and not listed.is_active:
                text = f"{name} is delisted: its book is empty for ever, so it is not subscribed"
                messages.append(self._refused(frame, sub_seq + len(messages), text))
            elif coin not in wanted:
                wanted.append(coin)
        if self._pairs and not wanted:
            protocol.failure = VenueRefused(f"nothing to record: {', '.join(self._pairs)} delisted or unknown")
            return
        count = len(wanted) * len(protocol.channels)
        if count > SUBSCRIPTIONS_MAX:
            protocol.failure = ConfigError(
                f"{len(wanted)} coins with {len(protocol.channels)} channels are {count} subscriptions, the venue "
                f"allows {SUBSCRIPTIONS_MAX}: {what_fits(len(wanted), [channel.name for channel in protocol.channels])}"
            )
        self.wanted = wanted
        self._is_chosen = True

    def _compare(self, frame: Frame, sub_seq: int, messages: list[Message]) -> None:
        """What has vanished from the listing since the last reply, and what is back."""
        for coin in self.wanted:
            listed, pair = self.table.get(coin), self.table.pair(coin)
            reason = ""
            if listed is None:
                reason = f"the venue no longer lists {pair}"
            elif not listed.is_active:
                reason = f"{pair} is delisted: its book is empty for ever"
            before = self._absent.get(coin, "")
            if reason == before:
                continue
            if reason:
                self._absent[coin] = reason
                messages.append(self._refused(frame, sub_seq + len(messages), reason))
                continue
            del self._absent[coin]
            text = f"the venue lists {pair} again"
            event = self._protocol.event(frame, EventKind.NOTICE, sub_seq=sub_seq + len(messages), detail=text)
            messages.append(event)
            self._protocol.subscribe_again(frame, coin)

    def _described_now(self, frame: Frame, sub_seq: int) -> list[Message]:
        """Instruments whose terms are news; an import without a list of pairs describes all there are."""
        table = self.table
        coins = (
            [coin for name in self.wanted if (coin := table.get(name)) is not None] if self._pairs else table.coins()
        )
        messages: list[Message] = []
        for coin in coins:
            if self._described.get(coin.coin) != coin:
                table.pair(coin.coin)  # what is reported once is its name
                self._described[coin.coin] = coin
                messages.append(instrument(self._protocol.venue, coin, frame, sub_seq + len(messages)))
        return messages

    def _refused(self, frame: Frame, sub_seq: int, text: str) -> Message:
        return self._protocol.event(frame, EventKind.REFUSED, sub_seq=sub_seq, detail=text)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> Any:
        """Everything that later messages depend on."""
        return {
            "coins": self.table.export(),
            "wanted": self.wanted,
            "is_chosen": self._is_chosen,
            "absent": self._absent,
            "failed": self._failed,
            "described": [msgspec.to_builtins(coin) for coin in self._described.values()],
            "read_mono": self._read_mono,
        }

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self.table.restore(state["coins"])
        self.wanted = list(state["wanted"])
        self._is_chosen = state["is_chosen"]
        self._absent = dict(state["absent"])
        self._failed = list(state["failed"])
        self._described = {coin.coin: coin for coin in msgspec.convert(state["described"], list[Coin])}
        self._read_mono = state["read_mono"]


def _needed(pairs: Sequence[str]) -> tuple[str, ...]:
    """The metadata replies that may name these pairs, in the order they are asked for."""
    needed = ["spotMeta", "meta"]
    dexes = sorted({dex_of(name) for name in pairs} - {""})
    if dexes:
        needed += ["perpDexs", *(f"meta:{dex}" for dex in dexes)]
    if any(name.startswith("#") for name in pairs):
        needed.append("outcomeMeta")
    return tuple(needed)


def _describes(coin: str) -> str:
    """The reply that has the terms of a coin."""
    if coin.startswith("#"):
        return "outcomeMeta"
    if coin.startswith("@") or "/" in coin:
        return "spotMeta"
    return f"meta:{dex_of(coin)}" if dex_of(coin) else "meta"


def _call(tag: str) -> RestCall:
    what, _, dex = tag.partition(":")
    return info_call(what, {"dex": dex} if dex else None, tag=tag, weight=_WEIGHT)
