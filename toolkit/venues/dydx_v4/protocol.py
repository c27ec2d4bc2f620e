"""dYdX v4's whole protocol, without the socket: the market, and the accounts whose addresses were given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import msgspec

from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError, ParseError, VenueRefused
from toolkit.frames import REST_OUT, Frame
from toolkit.messages import EventKind, Message, StreamEvent
from toolkit.protocol import ConnectionPlan, ProtocolOptions, Request, request_id_of
from toolkit.streams import Stream
from toolkit.venues.dydx_v4 import accounts_read, accounts_wire, wire
from toolkit.venues.dydx_v4.accounts import AccountStreams
from toolkit.venues.dydx_v4.accounts_rest import ACCOUNT_REPLIES
from toolkit.venues.dydx_v4.auth import CHILD_NUMBER_MIN, DydxV4Auth
from toolkit.venues.dydx_v4.errors import is_about_jurisdiction
from toolkit.venues.dydx_v4.items import Finding
from toolkit.venues.dydx_v4.market import BLOCKS_STREAM, HEARTBEAT, SILENCE_S_MAX, DydxV4MarketProtocol
from toolkit.venues.dydx_v4.subscriptions import PARENT, Subscription

__all__ = ["ACCOUNTS_MAX", "DydxV4Protocol"]

#: Subaccounts that one connection may carry.
ACCOUNTS_MAX: Final = 256
#: The connection of the accounts.
ROLE: Final = "accounts"


class DydxV4Protocol(DydxV4MarketProtocol):
    """
    Market data and account streams of dYdX v4.

    Raises ConfigError for an account that is none, more of them than a connection carries, or `parent` without any.
    """

    version: ClassVar[int] = 3

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(replace(options, channels=tuple(name for name in options.channels if name != PARENT)))
        self.options = options
        self._is_parent = PARENT in options.channels
        accounts = [DydxV4Auth.parse(name) for name in options.accounts]
        for account in accounts:
            if self._is_parent and account.number >= CHILD_NUMBER_MIN:
                parent = account.number % CHILD_NUMBER_MIN
                raise ConfigError(
                    f"dydx_v4: {account.name} is a child; channel parent follows children through {parent}"
                )
        if self._is_parent and not accounts:
            raise ConfigError("dydx_v4: channel parent follows accounts, and none is named; name one, as in dydx1.../0")
        self._accounts = tuple(dict.fromkeys(account.name for account in accounts))
        if len(self._accounts) > ACCOUNTS_MAX:
            raise ConfigError(
                f"dydx_v4: {len(self._accounts)} accounts, a connection carries {ACCOUNTS_MAX}; name fewer"
            )
        self.accounts = AccountStreams(self)
        for channel in accounts_wire.CHANNELS:
            self._readers[channel] = (self._read_account, self._tell_account)

    # -- connections -------------------------------------------------------------------------------------------

    def symbol(self, trading_pair: str) -> str:
        return trading_pair if self.accounts.knows(trading_pair) else super().symbol(trading_pair)

    def _is_wanted(self, ticker: str) -> bool:
        # Who names accounts and no pairs wants no market.
        return super()._is_wanted(ticker) and (bool(self.options.pairs) or not self._accounts)

    def connections(self) -> list[ConnectionPlan]:
        plans = self._market_connections()
        return [*plans, ConnectionPlan(role=ROLE, heartbeat=HEARTBEAT)] if self._accounts else plans

    def _market_connections(self) -> list[ConnectionPlan]:
        return super().connections() if self.options.pairs or not self._accounts else []

    def _subscribe(self, frame: Frame, role: str) -> None:
        if role != ROLE:
            super()._subscribe(frame, role)
            return
        channel = accounts_wire.CHANNEL_PARENT if self._is_parent else accounts_wire.CHANNEL_SUBACCOUNT
        # Orders end by the height of the chain, as this connection tells it: another one may be ahead.
        wanted = [
            Subscription(wire.CHANNEL_BLOCKS, ""),
            *(Subscription(channel, name) for name in self._accounts),
        ]
        if not self._hears_blocks:
            limit_ns = round(SILENCE_S_MAX[BLOCKS_STREAM] * NS_PER_S)
            stream = self.streams.add(Stream("", "", BLOCKS_STREAM, limit_ns=limit_ns))
            self.streams.resubscribed(stream, frame)
        self._subscriptions.opened(frame.conn_id, wanted, frame.ts_mono)
        self.accounts.connected(frame, self._accounts, is_parent=self._is_parent)

    @property
    def _hears_blocks(self) -> bool:
        """Whether a connection of the market is told of blocks."""
        has_market = bool(self.options.pairs) or not self._accounts
        return has_market and any(channel.wire == wire.CHANNEL_BLOCKS for channel in self.channels)

    def _on_sent(self, frame: Frame) -> None:
        super()._on_sent(frame)
        if frame.kind == REST_OUT:
            context = msgspec.json.decode(frame.context or "{}")
            if request_id_of(context) is None:
                self.accounts.asked(str(context.get("tag", "")), frame.capture_seq)
        elif self.role_of(frame.conn_id) == ROLE:
            request = wire.decode_request(frame.payload)
            if (request.type, request.channel) == ("subscribe", wire.CHANNEL_BLOCKS):
                self.accounts.hears_blocks = True

    def _on_control(self, frame: Frame) -> list[Message]:
        messages = super()._on_control(frame)
        if any(isinstance(each, StreamEvent) and each.kind is EventKind.SESSION_END for each in messages):
            self.accounts.decide_all(frame, messages)
        return messages

    def _on_session_end(self) -> None:
        self.accounts.session_ended()
        super()._on_session_end()

    def due(self, mono_ns: int) -> list[Request]:
        return [*super().due(mono_ns), *self.accounts.due(mono_ns)]

    # -- frames ------------------------------------------------------------------------------------------------

    def _read_account(self, envelope: wire.Envelope) -> tuple[list[accounts_wire.Contents], list[Finding]]:
        address, _, number = envelope.id.partition("/")
        if not (address and number.isascii() and number.isdigit() and len(number) <= 6):
            raise ParseError(f"an account with the id {envelope.id!r}, expected an address, / and a number")
        found: list[Finding] = []
        is_batch = envelope.type == "channel_batch_data"
        return accounts_read.read_contents(envelope.contents, found, is_batch=is_batch), found

    def _tell_account(
        self,
        frame: Frame,
        envelope: wire.Envelope,
        contents: tuple[list[accounts_wire.Contents], list[Finding]],
        messages: list[Message],
    ) -> None:
        # An import takes whatever comes; who recorded asked for what he wants.
        if envelope.id not in self._accounts and self.role_of(frame.conn_id):
            return
        is_parent = envelope.channel == accounts_wire.CHANNEL_PARENT
        root = self.accounts.follow(envelope.id, is_parent=is_parent)
        self._carriers["", root.stream] = self._numbers.key(frame, envelope.connection_id)
        parts, found = contents
        self.accounts.tell(
            frame,
            envelope.id,
            parts,
            messages,
            is_parent=is_parent,
            is_snapshot=envelope.type == "subscribed",
            number=accounts_read.read_number(envelope.subaccountNumber, found),
            queue=self._queue,
        )
        self._say(frame, found, messages, self.streams.get("", root.stream))

    def _tell_block(
        self, frame: Frame, envelope: wire.Envelope, block: tuple[int, int], messages: list[Message]
    ) -> None:
        is_own = self.role_of(frame.conn_id) == ROLE
        if not (is_own and self._hears_blocks):
            super()._tell_block(frame, envelope, block, messages)
        self.accounts.block(frame, block[0], messages, is_own=is_own)

    def _note_carrier(self, frame: Frame, channel: str, id: str, key: str, messages: list[Message]) -> None:
        # The stream of blocks is that of the market's connection, where there is one.
        is_second = channel == wire.CHANNEL_BLOCKS and self._hears_blocks and self.role_of(frame.conn_id) == ROLE
        if not is_second:
            super()._note_carrier(frame, channel, id, key, messages)

    def _on_loss(self, stream: Stream) -> None:
        super()._on_loss(stream)
        if stream.stream.startswith("account "):
            self.accounts.lost_frames(stream.stream.removeprefix("account "))

    def _on_error(self, frame: Frame, envelope: wire.Envelope) -> list[Message]:
        messages = super()._on_error(frame, envelope)
        if is_about_jurisdiction(envelope.message) and self.role_of(frame.conn_id) == ROLE:
            for name in self._accounts:
                self._subscriptions.refused(frame.conn_id, accounts_wire.CHANNEL_SUBACCOUNT, name)
                self._subscriptions.refused(frame.conn_id, accounts_wire.CHANNEL_PARENT, name)
            self._give_up()
        return messages

    def _give_up(self) -> None:
        """The venue serves no accounts here; without pairs there is nothing left to record."""
        if not self.options.pairs and self.failure is None:
            self.failure = VenueRefused(
                "dydx_v4: the venue does not serve accounts from this country; nothing else was asked for"
            )

    # -- REST replies ------------------------------------------------------------------------------------------

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        tag = str(context.get("tag", ""))
        what, status = tag.partition(":")[0], context.get("status", 200)
        if what not in ACCOUNT_REPLIES:
            return super()._on_rest(frame, context)
        if status == 403:
            # One of several ways to ask: the stream, and the other ones, may be served all the same.
            self.accounts.refused(tag)
            text = f"{tag}: the venue does not serve this here (HTTP 403); it is not asked again"
            return [self.event(frame, EventKind.REFUSED, cause="account", detail=text)]
        is_missing = status == 404 and what != "accountOrder"
        if status != 200 and not is_missing:
            return super()._on_rest(frame, context)
        found: list[Finding] = []
        messages = self.accounts.on_reply(
            frame,
            tag,
            request_id_of(context),
            found,
            is_parent=self._is_parent,
            is_missing=is_missing,
            queue=self._queue,
        )
        self._say(frame, found, messages)
        return messages

    def _on_unanswered(self, frame: Frame, tag: str, messages: list[Message]) -> None:
        if tag.partition(":")[0] in ACCOUNT_REPLIES:
            stream = self.accounts.unanswered(frame, tag, messages, self._queue)
            if stream:
                self.miss_poll(frame, "", stream, messages)
        else:
            super()._on_unanswered(frame, tag, messages)

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {**super()._export(), "accounts": self.accounts.export()}

    def _import(self, state: Any) -> None:
        super()._import(state)
        self.accounts.restore(state["accounts"])
