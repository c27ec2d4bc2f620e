"""dYdX v4's whole protocol, without the socket: the market, and the accounts whose addresses were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError, ParseError, VenueRefused
from toolkit.frames import REST_OUT, Frame
from toolkit.messages import EventKind, Message
from toolkit.protocol import ConnectionPlan, ProtocolOptions, Request, request_id_of
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import accounts_read, accounts_wire, wire
from toolkit.venues.dydx_v4.accounts import AccountStreams
from toolkit.venues.dydx_v4.accounts_rest import ACCOUNT_REPLIES
from toolkit.venues.dydx_v4.auth import CHILD_NUMBER_MIN, DydxV4Auth
from toolkit.venues.dydx_v4.base import DydxV4AccountsPart
from toolkit.venues.dydx_v4.errors import is_about_jurisdiction
from toolkit.venues.dydx_v4.items import Finding
from toolkit.venues.dydx_v4.market import BLOCKS_STREAM, HEARTBEAT, SILENCE_S_MAX, DydxV4MarketProtocol
from toolkit.venues.dydx_v4.subscriptions import PARENT, Subscription

__all__ = ["ACCOUNTS_MAX", "DydxV4Accounts", "DydxV4Protocol"]

#: Subaccounts that one connection may carry.
ACCOUNTS_MAX: Final = 256
#: The connection of the accounts.
ROLE: Final = "accounts"


class DydxV4Protocol(DydxV4MarketProtocol):
    """
    Market data and account streams of dYdX v4.

    Raises ConfigError for an invalid account, more of them than a connection carries, or `parent` without any.
    """

    version: ClassVar[int] = 3

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(replace(options, channels=tuple(name for name in options.channels if name != PARENT)))
        self.options = options
        self.accounts = DydxV4Accounts(self)


class DydxV4Accounts(DydxV4AccountsPart):
    """
    The accounts of a protocol: one connection for all of them, whose frames the market's part numbers and hands on.

    Args:
        protocol: Protocol that this is a part of; its options name the accounts.

    Raises:
        ConfigError: An invalid account, more of them than a connection carries, or `parent` without any.
    """

    def __init__(self, protocol: DydxV4MarketProtocol) -> None:
        self._protocol = protocol
        self._is_parent = PARENT in protocol.options.channels
        accounts = [DydxV4Auth.parse(name) for name in protocol.options.accounts]
        for account in accounts:
            if self._is_parent and account.number >= CHILD_NUMBER_MIN:
                parent = account.number % CHILD_NUMBER_MIN
                raise ConfigError(
                    f"dydx_v4: {account.name} is a child; channel parent follows children through {parent}"
                )
        if self._is_parent and not accounts:
            raise ConfigError("dydx_v4: channel parent follows accounts, and none is named; name one, as in dydx1.../0")
        self._names = tuple(dict.fromkeys(account.name for account in accounts))
        if len(self._names) > ACCOUNTS_MAX:
            raise ConfigError(f"dydx_v4: {len(self._names)} accounts, a connection carries {ACCOUNTS_MAX}; name fewer")
        self.streams = AccountStreams(protocol)
        for channel in accounts_wire.CHANNELS:
            protocol.readers[channel] = (self._read, self._emit)

    # -- connections -------------------------------------------------------------------------------------------

    def has_role(self, role: str) -> bool:
        return role == ROLE

    def knows(self, symbol: str) -> bool:
        return self.streams.knows(symbol)

    def connections(self) -> list[ConnectionPlan]:
        return [ConnectionPlan(role=ROLE, heartbeat=HEARTBEAT)] if self._names else []

    def subscribe(self, frame: Frame, role: str) -> None:
        channel = accounts_wire.CHANNEL_PARENT if self._is_parent else accounts_wire.CHANNEL_SUBACCOUNT
        # Orders end by the height of the chain, as this connection tells it: another one may be ahead.
        wanted = [
            Subscription(wire.CHANNEL_BLOCKS, ""),
            *(Subscription(channel, name) for name in self._names),
        ]
        streams = self._protocol.streams
        if not self._protocol.follows_blocks:
            limit_ns = round(SILENCE_S_MAX[BLOCKS_STREAM] * NS_PER_S)
            streams.resubscribed(streams.add(Stream("", "", BLOCKS_STREAM, limit_ns=limit_ns)), frame)
        self._protocol.subscriptions.opened(frame.conn_id, wanted, frame.ts_mono)
        self.streams.connected(frame, self._names, is_parent=self._is_parent)

    def resubscribe(self, frame: Frame, role: str) -> None:
        self._protocol.ask(self._protocol.subscriptions.again(frame.conn_id))

    def on_sent(self, frame: Frame) -> None:
        if frame.kind == REST_OUT:
            context = msgspec.json.decode(frame.context or "{}")
            if request_id_of(context) is None:
                self.streams.asked(str(context.get("tag", "")), frame.capture_seq)
        elif self.has_role(self._protocol.role_of(frame.conn_id)):
            request = wire.decode_request(frame.payload)
            if (request.type, request.channel) == ("subscribe", wire.CHANNEL_BLOCKS):
                self.streams.follows_blocks = True

    def session_ended(self, frame: Frame, messages: list[Message]) -> None:
        self.streams.session_ended()
        self.streams.decide_all(frame, messages)

    def due(self, mono_ns: int) -> list[Request]:
        return self.streams.due(mono_ns)

    # -- frames ------------------------------------------------------------------------------------------------

    def _read(self, envelope: wire.Envelope) -> tuple[list[accounts_wire.Contents], list[Finding]]:
        address, _, number = envelope.id.partition("/")
        if not (address and number.isascii() and number.isdigit() and len(number) <= 6):
            raise ParseError(f"an account with the id {envelope.id!r}, expected an address, / and a number")
        found: list[Finding] = []
        is_batch = envelope.type == "channel_batch_data"
        return accounts_read.read_contents(envelope.contents, found, is_batch=is_batch), found

    def _emit(
        self,
        frame: Frame,
        envelope: wire.Envelope,
        contents: tuple[list[accounts_wire.Contents], list[Finding]],
        messages: list[Message],
    ) -> None:
        # An import reads whatever comes; a recording has what was asked for.
        if envelope.id not in self._names and self._protocol.role_of(frame.conn_id):
            return
        is_parent = envelope.channel == accounts_wire.CHANNEL_PARENT
        root = self.streams.follow(envelope.id, is_parent=is_parent)
        self._protocol.carry(frame, envelope, root.stream)
        parts, found = contents
        self.streams.emit(
            frame,
            envelope.id,
            parts,
            messages,
            is_parent=is_parent,
            is_snapshot=envelope.type == "subscribed",
            number=accounts_read.read_number(envelope.subaccountNumber, found),
        )
        self._protocol.say(frame, found, messages, self._protocol.streams.get("", root.stream))

    def block(self, frame: Frame, height: int, messages: list[Message]) -> None:
        is_own = self.has_role(self._protocol.role_of(frame.conn_id))
        self.streams.block(frame, height, messages, is_own=is_own)

    def lost(self, stream: Stream) -> None:
        if stream.stream.startswith("account "):
            self.streams.lost_frames(stream.stream.removeprefix("account "))

    def on_error(self, frame: Frame, envelope: wire.Envelope) -> None:
        if not (is_about_jurisdiction(envelope.message) and self.has_role(self._protocol.role_of(frame.conn_id))):
            return
        for name in self._names:
            self._protocol.subscriptions.refused(frame.conn_id, accounts_wire.CHANNEL_SUBACCOUNT, name)
            self._protocol.subscriptions.refused(frame.conn_id, accounts_wire.CHANNEL_PARENT, name)
        # The venue serves no accounts here; without pairs there is nothing left to record.
        if not self._protocol.options.pairs and self._protocol.failure is None:
            self._protocol.failure = VenueRefused(
                "dydx_v4: the venue does not serve accounts from this country; nothing else was asked for"
            )

    # -- REST replies ------------------------------------------------------------------------------------------

    def on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message] | None:
        tag = str(context.get("tag", ""))
        what, status = tag.partition(":")[0], context.get("status", 200)
        if what not in ACCOUNT_REPLIES:
            return None
        if status == 403:
            # One of several ways to ask: the stream, and the other ones, may be served all the same.
            self.streams.refused(tag)
            text = f"{tag}: the venue does not serve this here (HTTP 403); it is not asked again"
            return [self._protocol.event(frame, EventKind.REFUSED, cause="account", detail=text)]
        is_missing = status == 404 and what != "accountOrder"
        if status != 200 and not is_missing:
            return None
        found: list[Finding] = []
        messages = self.streams.on_reply(
            frame, tag, request_id_of(context), found, is_parent=self._is_parent, is_missing=is_missing
        )
        self._protocol.say(frame, found, messages)
        return messages

    def on_failure(self, frame: Frame, tag: str, messages: list[Message]) -> bool:
        if tag.partition(":")[0] not in ACCOUNT_REPLIES:
            return False
        stream = self.streams.unanswered(frame, tag, messages)
        if stream:
            self._protocol.miss_poll(frame, "", stream, messages)
        return True

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        return {"accounts": self.streams.export()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.streams.restore(state["accounts"])
