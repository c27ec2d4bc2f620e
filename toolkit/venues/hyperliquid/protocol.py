"""Hyperliquid's whole protocol, without the socket: the market, and the accounts whose addresses were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from toolkit.errors import ConfigError, ParseError, VenueRefused
from toolkit.frames import Frame
from toolkit.messages import EventKind, Message
from toolkit.protocol import AccountsPart, ConnectionPlan, ProtocolOptions, Request
from toolkit.venues.hyperliquid.accounts import ACCOUNT_REPLIES, UserStreams
from toolkit.venues.hyperliquid.accounts_wire import USER_CHANNELS
from toolkit.venues.hyperliquid.auth import HyperliquidAuth
from toolkit.venues.hyperliquid.convert import decoded_json, info_call
from toolkit.venues.hyperliquid.market import HEARTBEAT, HyperliquidMarketProtocol

__all__ = ["ACCOUNTS_MAX", "CONNECTIONS_MAX", "HyperliquidAccounts", "HyperliquidProtocol"]

#: The venue documents 10 accounts for one client; its error message says 15. The lower figure is safe.
ACCOUNTS_MAX: Final = 10
CONNECTIONS_MAX: Final = 10
_ROLE: Final = "user-"
_ROLE_WEIGHT: Final = 60


class HyperliquidProtocol(HyperliquidMarketProtocol):
    """
    Market data and account streams of Hyperliquid.

    Raises ConfigError for an invalid address, or more accounts than the venue allows.
    """

    def __init__(self, options: ProtocolOptions) -> None:
        super().__init__(options)
        self.accounts = HyperliquidAccounts(self, options.accounts)


class HyperliquidAccounts(AccountsPart):
    """
    The accounts of a protocol: which address owns what each of them acts for, and a connection for each owner.

    Args:
        protocol: Protocol that this is a part of.
        names: Addresses to follow.

    Raises:
        ConfigError: An invalid address, or more accounts than the venue allows.
    """

    def __init__(self, protocol: HyperliquidMarketProtocol, names: Sequence[str]) -> None:
        self._protocol = protocol
        #: Addresses as they were given, with the address that owns what they act for, once the venue has said.
        self._owners: dict[str, str | None] = {HyperliquidAuth(name).address: None for name in names}
        if len(self._owners) > ACCOUNTS_MAX:
            raise ConfigError(
                f"hyperliquid: {len(self._owners)} accounts, the venue lets one client follow {ACCOUNTS_MAX}; name fewer"
            )
        roles = protocol.market_roles()
        if self._owners and len(roles) + len(self._owners) > CONNECTIONS_MAX:
            raise ConfigError(
                f"hyperliquid: {len(self._owners)} accounts and {len(roles)} connections for the market, the venue "
                f"allows one client {CONNECTIONS_MAX}; name fewer accounts or channels"
            )
        #: `orderUpdates` names no account, so only the connection says whose a frame is.
        self.reads_frames = bool(self._owners)
        self.users = UserStreams(protocol)

    # -- connections -------------------------------------------------------------------------------------------

    def bootstrap(self) -> list[Request]:
        unresolved = [address for address, owner in self._owners.items() if owner is None]
        return [
            info_call("userRole", {"user": address}, tag=f"userRole:{address}", weight=_ROLE_WEIGHT)
            for address in unresolved
        ]

    @property
    def is_ready(self) -> bool:
        return None not in self._owners.values()

    def connections(self) -> list[ConnectionPlan]:
        return [ConnectionPlan(role=f"{_ROLE}{number}", heartbeat=HEARTBEAT) for number in range(len(self._followed()))]

    def has_role(self, role: str) -> bool:
        return self._account_of(role) is not None

    def subscribe(self, frame: Frame, role: str) -> None:
        self.users.connected(frame, self._account_of(role) or "")

    def resubscribe(self, frame: Frame, role: str) -> None:
        address = self._account_of(role) or ""
        self.users.unsubscribe(frame, address)
        self.users.connected(frame, address)

    def disconnected(self, frame: Frame) -> None:
        self.users.disconnected(frame.conn_id)

    def session_ended(self, frame: Frame, messages: list[Message]) -> None:
        self.users.session_ended()

    def due(self, mono_ns: int) -> list[Request]:
        return self.users.due(mono_ns)

    def _followed(self) -> list[str]:
        return list(dict.fromkeys(owner for owner in self._owners.values() if owner is not None))

    def _account_of(self, role: str) -> str | None:
        """The account of a connection; None for one of the market."""
        if not role.startswith(_ROLE):
            return None
        followed, number = self._followed(), role[len(_ROLE) :]
        return followed[int(number)] if number.isdigit() and int(number) < len(followed) else None

    # -- frames ------------------------------------------------------------------------------------------------

    def on_text(self, frame: Frame) -> list[Message]:
        return self.users.on_text(frame, self._account_of(self._protocol.role_of(frame.conn_id)) or "")

    def on_other_channel(self, frame: Frame, channel: str) -> list[Message]:
        """In an import no connection has a role: a frame that names no account is of the only one there is, if any."""
        if channel in USER_CHANNELS:
            return self.users.on_text(frame, next(iter(self._owners), ""))
        return []

    def on_rest(self, frame: Frame, context: Mapping[str, Any]) -> list[Message] | None:
        tag = str(context.get("tag", ""))
        what, _, address = tag.partition(":")
        if context.get("status", 200) != 200:
            return None
        if what == "userRole":
            return self._on_role(frame, address)
        return self.users.on_reply(frame, tag) if what in ACCOUNT_REPLIES else None

    def on_failure(self, frame: Frame, tag: str, messages: list[Message]) -> bool:
        what, _, address = tag.partition(":")
        if what == "userRole" and self._owners.get(address, "") is None:
            self._follow_as_given(frame, address, "the venue does not say whose it is", messages)
        return what == "userRole"

    def _follow_as_given(self, frame: Frame, address: str, why: str, messages: list[Message]) -> None:
        """The owner of an address cannot be known: an address that owns something is followed all the same."""
        self._owners[address] = address
        text = f"{address} is followed as given: {why}; if nothing comes, give the address that owns the account"
        sub_seq = len(messages)
        messages.append(self._protocol.event(frame, EventKind.NOTICE, sub_seq=sub_seq, cause="account", detail=text))

    def _on_role(self, frame: Frame, address: str) -> list[Message]:
        event = self._protocol.event
        try:
            owner = HyperliquidAuth(address).resolve(decoded_json(frame.payload)).address
        except VenueRefused as exc:
            if self._owners.get(address) is None:
                self._protocol.failure = exc
            return [event(frame, EventKind.REFUSED, cause="account", detail=str(exc))]
        except ParseError as exc:
            messages: list[Message] = []
            if self._owners.get(address) is None:
                self._follow_as_given(frame, address, str(exc), messages)
            return messages
        self._owners[address] = owner
        if owner == address:
            return []
        text = f"{address} is an agent wallet, which owns nothing: its master {owner} is followed"
        return [event(frame, EventKind.NOTICE, cause="agent", detail=text)]

    # -- checkpoints -------------------------------------------------------------------------------------------

    def export(self) -> dict[str, Any]:
        return {"owners": list(self._owners.items()), "users": self.users.export()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._owners = dict(state.get("owners", ())) or self._owners
        self.reads_frames = bool(self._owners)
        self.users.restore(state.get("users", []))
