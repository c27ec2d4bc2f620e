"""
What dYdX v4's protocols do about what is odd: items that cannot be read, connections that are over, polls that no one
answers.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from toolkit.frames import Frame
from toolkit.messages import NO_ANSWER, EventKind, Message
from toolkit.protocol import AccountsPart, ProtocolOptions, VenueProtocol
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import wire
from toolkit.venues.dydx_v4.items import Finding
from toolkit.venues.dydx_v4.polls import Repeats
from toolkit.venues.dydx_v4.rest import trades_page

__all__ = ["MISSED_TRADES", "DydxV4AccountsPart", "DydxV4Base"]

#: The stream of trades that only REST tells, and did not.
MISSED_TRADES: Final = "missed trades"
#: What is odd is said once, for so many kinds of it.
SAID_MAX: Final = 500

_decode_details = msgspec.json.Decoder(dict[str, Any]).decode


class DydxV4AccountsPart(AccountsPart):
    """
    What the market's part hands to the one of the accounts, which follows none here.

    All frames of a connection are numbered together, so the market's part reads every envelope and hands on what is in it.
    """

    def knows(self, symbol: str) -> bool:
        """Whether an account has an order or a position in that market."""
        return False

    def block(self, frame: Frame, height: int, messages: list[Message]) -> None:
        """A connection, of the accounts or of the market, reported a block."""

    def lost(self, stream: Stream) -> None:
        """Frames of a stream may have been lost, some seconds ago."""

    def on_error(self, frame: Frame, envelope: wire.Envelope) -> None:
        """The venue refused something on a connection."""


class DydxV4Base(VenueProtocol):
    """The part of the protocols that no channel is about."""

    accounts: DydxV4AccountsPart

    #: Streams of what is polled, by the first word of the request's tag: stale while it is not answered.
    _POLLED: Final = {"historicalFunding": "settled", "terms": "terms"}

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        self.accounts = DydxV4AccountsPart()
        self._repeats = Repeats()
        self._epochs: dict[int, int] = {}
        self._said: dict[str, None] = {}
        #: When polls were last answered, ns, by symbol and stream.
        self._polled: dict[tuple[str, str], int] = {}

    # -- what is odd -------------------------------------------------------------------------------------------

    def say(self, frame: Frame, found: list[Finding], messages: list[Message], stream: Stream | None = None) -> None:
        """Tell what was odd in a frame that is otherwise understood: each item that is lost, every other oddity once."""
        for finding in found:
            if finding.is_lost:
                self.parse_error_count += 1
            else:
                kind = finding.kind or finding.text
                if kind in self._said or len(self._said) >= SAID_MAX:
                    continue
                self._said[kind] = None
            about = stream
            if finding.symbol:
                about = Stream(finding.symbol, finding.symbol, stream.stream if stream is not None else "")
            messages.append(
                self.event(
                    frame,
                    EventKind.PARSE_ERROR if finding.is_lost else EventKind.NOTICE,
                    stream=about,
                    sub_seq=len(messages),
                    cause="" if finding.is_lost else "unknown",
                    detail=finding.text,
                )
            )

    def _on_control(self, frame: Frame) -> list[Message]:
        details = _decode_details(frame.payload)
        event = details.get("event")
        if event == "connected":
            self._epochs[frame.conn_id] = frame.conn_epoch
        elif event == "disconnected" and self._is_over(frame):
            return [self.event(frame, EventKind.DISCONNECTED, detail="an older making of the connection")]
        messages = super()._on_control(frame)
        if event == "request_failed":
            self._on_unanswered(frame, str(details.get("tag", "")), messages)
        return messages

    def _on_unanswered(self, frame: Frame, tag: str, messages: list[Message]) -> None:
        """A request got no answer of use: it is made again, and what it asks for is stale where it is polled."""
        what, _, symbol = tag.partition(":")
        if self.accounts.on_failure(frame, tag, messages):
            return
        if what not in self._POLLED and what != "trades":
            return
        self._repeats.failed(tag, frame.ts_mono)
        if what in self._POLLED:
            self.miss_poll(frame, symbol, self._POLLED[what], messages)
        elif trades_page(symbol)[0] is not None:
            self.miss_poll(frame, trades_page(symbol)[1], MISSED_TRADES, messages)

    def miss_poll(self, frame: Frame, symbol: str, name: str, messages: list[Message]) -> None:
        """A poll was not answered: what it asks for is stale."""
        stream = self.streams.get(symbol, name)
        if stream is None:
            stream = self.streams.add(Stream(symbol, symbol, name, -1))
            stream.is_live = True
            stream.last_recv = self._polled.get((symbol, name), frame.ts_recv)
        self.mark_stale(frame, stream, NO_ANSWER, messages)

    def meet_poll(self, frame: Frame, symbol: str, name: str, messages: list[Message]) -> None:
        """A poll was answered: if it was stale, the gap ends."""
        self._polled[symbol, name] = frame.ts_recv
        if self.streams.get(symbol, name) is not None:
            self.received(frame, symbol, name, messages)

    # -- connections that are over -----------------------------------------------------------------------------

    def _is_over(self, frame: Frame) -> bool:
        """Whether the connection was made again since: what the frame says was said before all that followed."""
        return frame.conn_epoch < self._epochs.get(frame.conn_id, 0)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {
            "epochs": list(self._epochs.items()),
            "said": list(self._said),
            "polled": [[*stream, ts] for stream, ts in self._polled.items()],
        }

    def _import(self, state: Any) -> None:
        self._epochs = dict(state["epochs"])
        self._said = dict.fromkeys(state["said"])
        self._polled = {(symbol, name): ts for symbol, name, ts in state["polled"]}
