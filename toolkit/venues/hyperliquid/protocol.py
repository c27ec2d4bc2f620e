"""Hyperliquid's whole protocol, without the socket: the market, and the accounts whose addresses were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from toolkit.errors import ConfigError, ParseError, VenueRefused
from toolkit.frames import Frame
from toolkit.messages import EventKind, Message
from toolkit.protocol import ConnectionPlan, ProtocolOptions, Request
from toolkit.streams import Stream
from toolkit.venues.hyperliquid.accounts import ACCOUNT_REPLIES, UserStreams
from toolkit.venues.hyperliquid.accounts_wire import USER_CHANNELS
from toolkit.venues.hyperliquid.auth import HyperliquidAuth
from toolkit.venues.hyperliquid.convert import decoded_json, info_call
from toolkit.venues.hyperliquid.market import HEARTBEAT, HyperliquidMarketProtocol

__all__ = ["ACCOUNTS_MAX", "CONNECTIONS_MAX", "HyperliquidProtocol"]

#: The venue documents 10 accounts for one client; its error message says 15. The lower figure is safe.
ACCOUNTS_MAX: Final = 10
CONNECTIONS_MAX: Final = 10
_ROLE: Final = "user-"
_ROLE_WEIGHT: Final = 60


class HyperliquidProtocol(HyperliquidMarketProtocol):
    """
    Market data and account streams of Hyperliquid.

    Raises ConfigError for an address that is none, or more accounts than the venue allows.
    """

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        #: Addresses as they were given, with the address that owns what they act for, once the venue has said.
        self._owners: dict[str, str | None] = {HyperliquidAuth(name).address: None for name in options.accounts}
        if len(self._owners) > ACCOUNTS_MAX:
            raise ConfigError(
                f"hyperliquid: {len(self._owners)} accounts, the venue lets one client follow {ACCOUNTS_MAX}; name fewer"
            )
        self.users = UserStreams(self)
        roles = [plan.role for plan in self._market_connections()]
        if self._owners and len(roles) + len(self._owners) > CONNECTIONS_MAX:
            raise ConfigError(
                f"hyperliquid: {len(self._owners)} accounts and {len(roles)} connections for the market, the venue "
                f"allows one client {CONNECTIONS_MAX}; name fewer accounts or channels"
            )

    # -- connections -------------------------------------------------------------------------------------------

    def bootstrap(self) -> list[Request]:
        requests = super().bootstrap()
        unresolved = [address for address, owner in self._owners.items() if owner is None]
        return requests + [
            info_call("userRole", {"user": address}, tag=f"userRole:{address}", weight=_ROLE_WEIGHT)
            for address in unresolved
        ]

    @property
    def is_ready(self) -> bool:
        return super().is_ready and None not in self._owners.values()

    def connections(self) -> list[ConnectionPlan]:
        accounts = [
            ConnectionPlan(role=f"{_ROLE}{number}", heartbeat=HEARTBEAT) for number in range(len(self._followed()))
        ]
        return self._market_connections() + accounts

    def _market_connections(self) -> list[ConnectionPlan]:
        # Who names accounts and no pairs wants no market.
        return super().connections() if self.options.pairs or not self.options.accounts else []

    def _followed(self) -> list[str]:
        return list(dict.fromkeys(owner for owner in self._owners.values() if owner is not None))

    def _account_of(self, conn_id: int) -> str | None:
        """The account of a connection; None for one of the market."""
        role = self.role_of(conn_id)
        if not role.startswith(_ROLE):
            return None
        followed, number = self._followed(), role[len(_ROLE) :]
        return followed[int(number)] if number.isdigit() and int(number) < len(followed) else None

    def _subscribe(self, frame: Frame, role: str) -> None:
        address = self._account_of(frame.conn_id)
        if address is None:
            super()._subscribe(frame, role)
        else:
            self.users.connected(frame, address, self._queue)

    def _resubscribe(self, frame: Frame, role: str) -> None:
        address = self._account_of(frame.conn_id)
        if address is None:
            super()._resubscribe(frame, role)
        else:
            self.users.unsubscribe(frame, address, self._queue)
            self.users.connected(frame, address, self._queue)

    def _on_sent(self, frame: Frame) -> None:
        if self._account_of(frame.conn_id) is None:
            super()._on_sent(frame)

    def _on_disconnected(self, frame: Frame, streams: list[Stream]) -> list[Message]:
        self.users.disconnected(frame.conn_id)
        return super()._on_disconnected(frame, streams)

    def _on_session_end(self) -> None:
        self.users.session_ended()
        super()._on_session_end()

    def due(self, mono_ns: int) -> list[Request]:
        return super().due(mono_ns) + self.users.due(mono_ns)

    # -- frames ------------------------------------------------------------------------------------------------

    def _on_text(self, frame: Frame) -> list[Message]:
        if self._owners:
            address = self._account_of(frame.conn_id)
            if address is not None:
                return self.users.on_text(frame, address, self._queue)
        return super()._on_text(frame)

    def _on_other_channel(self, frame: Frame, channel: str) -> list[Message]:
        """In an import no connection has a role: what names no account belongs to the only one there is, if any."""
        if channel in USER_CHANNELS:
            return self.users.on_text(frame, next(iter(self._owners), ""), self._queue)
        return super()._on_other_channel(frame, channel)

    def _on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message]:
        tag = str(context.get("tag", ""))
        what = tag.partition(":")[0]
        if context.get("status", 200) == 200:
            if what == "userRole":
                return self._on_role(frame, tag.partition(":")[2])
            if what in ACCOUNT_REPLIES:
                return self.users.on_reply(frame, tag, self._queue)
        return super()._on_rest(frame, context)

    def _on_request_failed(self, frame: Frame, tag: str, messages: list[Message]) -> None:
        super()._on_request_failed(frame, tag, messages)
        what, _, address = tag.partition(":")
        if what == "userRole" and self._owners.get(address, "") is None:
            self._follow_as_given(frame, address, "the venue does not say whose it is", messages)

    def _follow_as_given(self, frame: Frame, address: str, why: str, messages: list[Message]) -> None:
        """Whose an address is cannot be known: one that owns something is followed all the same."""
        self._owners[address] = address
        text = f"{address} is followed as given: {why}; if nothing comes, give the address that owns the account"
        sub_seq = len(messages)
        messages.append(self.event(frame, EventKind.NOTICE, sub_seq=sub_seq, cause="account", detail=text))

    def _on_role(self, frame: Frame, address: str) -> list[Message]:
        try:
            owner = HyperliquidAuth(address).resolve(decoded_json(frame.payload)).address
        except VenueRefused as exc:
            if self._owners.get(address) is not None:
                return [self.event(frame, EventKind.REFUSED, cause="account", detail=str(exc))]
            self.failure = exc
            return [self.event(frame, EventKind.REFUSED, cause="account", detail=str(exc))]
        except ParseError as exc:
            messages: list[Message] = []
            if self._owners.get(address) is None:
                self._follow_as_given(frame, address, str(exc), messages)
            return messages
        self._owners[address] = owner
        if owner == address:
            return []
        text = f"{address} is an agent wallet, which owns nothing: its master {owner} is followed"
        return [self.event(frame, EventKind.NOTICE, cause="agent", detail=text)]

    # -- checkpoints -------------------------------------------------------------------------------------------

    def _export(self) -> Any:
        return {**super()._export(), "owners": list(self._owners.items()), "users": self.users.export()}

    def _import(self, state: Any) -> None:
        super()._import(state)
        self._owners = dict(state.get("owners", ())) or self._owners
        self.users.restore(state.get("users", []))
