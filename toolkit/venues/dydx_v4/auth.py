"""
Whose subaccount is followed. Everything about one is public given its address, so an address and a number are all.

No key and no words are asked for anywhere, and none would be of use: this code signs and sends nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from toolkit.errors import ConfigError

__all__ = ["CHILD_NUMBER_MIN", "DydxV4Auth", "address_of"]

#: Subaccounts 0 to 127 are parents; child n holds isolated positions and belongs to parent n % 128.
CHILD_NUMBER_MIN: Final = 128
#: Numbers end below this (Indexer, packages/postgres/src/constants.ts: 128 parents of 1,000 children).
NUMBER_END: Final = 128_000

_PREFIX: Final = "dydx"
_LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
#: 20 bytes are 32 letters, 32 bytes (accounts of modules) 52; six more are the checksum.
_ADDRESS: Final = re.compile(rf"{_PREFIX}1(?:[{_LETTERS}]{{38}}|[{_LETTERS}]{{58}})")
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


@dataclass(frozen=True, slots=True)
class DydxV4Auth:
    """
    A subaccount.

    Attributes:
        address: Address of its owner, bech32: `dydx1...`, lower case.
        number: 0 to 127 for a parent subaccount, 128 to 127,999 for a child.
    """

    address: str
    number: int = 0

    def __post_init__(self) -> None:
        address = self.address.lower()
        if not _ADDRESS.fullmatch(address):
            raise ConfigError(f"dydx_v4: {_what(self.address)}; expected dydx1 and 38 letters, then / and a number")
        if _checksum([*_expanded(), *map(_LETTERS.index, address[len(_PREFIX) + 1 :])]) != 1:
            raise ConfigError(f"dydx_v4: {self.address!r} does not fit its checksum; check it for a typing error")
        if not 0 <= self.number < NUMBER_END:
            raise ConfigError(f"dydx_v4: no subaccount has the number {self.number}; expected 0 to {NUMBER_END - 1}")
        object.__setattr__(self, "address", address)

    @classmethod
    def parse(cls, text: str) -> Self:
        """`dydx1.../0`, or the address alone for its subaccount 0. Raises ConfigError that says what is wrong."""
        address, slash, number = text.strip().partition("/")
        if slash and not (number.isascii() and number.isdigit() and len(number) <= 6):
            # What follows the address may be anything; the address alone is named.
            raise ConfigError(f"dydx_v4: {number!r:.20} is no subaccount; expected a number, as in dydx1.../0")
        return cls(address, int(number or 0))

    @property
    def name(self) -> str:
        """As the venue writes it: `dydx1.../0`."""
        return f"{self.address}/{self.number}"


def address_of(key_hash: bytes) -> str:
    """The address of those bytes (20 for an account)."""
    bits = int.from_bytes(key_hash, "big") << (-len(key_hash) * 8 % 5)
    count = (len(key_hash) * 8 + 4) // 5
    values = [bits >> 5 * (count - 1 - index) & 31 for index in range(count)]
    total = _checksum([*_expanded(), *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [total >> 5 * (5 - index) & 31 for index in range(6)]
    return _PREFIX + "1" + "".join(_LETTERS[value] for value in values)


def _what(text: str) -> str:
    # What may have been pasted by mistake is a secret: it is not repeated.
    if re.fullmatch(r"(0x)?[0-9a-fA-F]{64}", text) or len(text.split()) > 3:
        return "that looks like a key or the words of one, which are never needed: name the account's address"
    return f"{text!r:.80} is no address"


def _expanded() -> list[int]:
    return [*(ord(letter) >> 5 for letter in _PREFIX), 0, *(ord(letter) & 31 for letter in _PREFIX)]


def _checksum(values: list[int]) -> int:
    """The checksum of bech32 (BIP 173): 1 over a valid address."""
    total = 1
    for value in values:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ value
        for index, factor in enumerate(_GENERATOR):
            total ^= factor if top >> index & 1 else 0
    return total
