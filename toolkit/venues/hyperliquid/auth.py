"""
Whose account is followed. Everything about an account is public given its address, so an address is all there is.

No private key is asked for anywhere, and none would be of use: this code sends no signed action.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from toolkit.errors import ConfigError, ParseError, VenueRefused

__all__ = ["HyperliquidAuth"]

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}")
#: Roles whose address owns something. An agent wallet signs for an account and owns nothing.
_OWNERS: Final = frozenset({"user", "vault", "subAccount"})


@dataclass(frozen=True, slots=True)
class HyperliquidAuth:
    """
    The address of an account: a master account, a sub-account or a vault; an agent wallet has to be resolved first.

    Attributes:
        address: `0x` and 40 hexadecimal digits, lower case.
    """

    address: str

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.address):
            # What may have been pasted by mistake is a secret: it is not repeated.
            kind = (
                "that looks like a private key, which is never needed: name the account's address"
                if re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", self.address)
                else f"{self.address!r} is no address"
            )
            raise ConfigError(f"hyperliquid: {kind}; expected 0x and 40 hexadecimal digits")
        object.__setattr__(self, "address", self.address.lower())

    @property
    def name(self) -> str:
        """The address, as the venue writes it."""
        return self.address

    def resolve(self, role: Any) -> HyperliquidAuth:
        """
        The account that owns what this address acts for: itself, or the master of an agent wallet.

        Args:
            role: The venue's reply to `userRole` for this address.

        Raises:
            VenueRefused: The venue has never seen the address.
            ParseError: The reply has another shape than documented.
        """
        kind = role.get("role") if isinstance(role, Mapping) else None
        if kind in _OWNERS:
            return self
        if kind == "agent":
            data = role.get("data")
            master = data.get("user") if isinstance(data, Mapping) else None
            if isinstance(master, str) and _ADDRESS.fullmatch(master):
                return HyperliquidAuth(master)
        if kind == "missing":
            raise VenueRefused(
                f"hyperliquid: no one has ever used the address {self.address}; check it for a typing error"
            )
        raise ParseError(f"userRole of another shape than documented: {role!r:.200}")
