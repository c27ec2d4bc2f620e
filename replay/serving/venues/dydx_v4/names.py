"""How dYdX v4 writes what it derives: addresses in bech32, ids that are hashes of what they stand for, and times."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

__all__ = ["bech32", "derived_id", "iso"]

_DIGITS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SPACE = uuid.UUID("0f9da948-a6fb-4c45-9edc-4685c3f3317d")


def _checksum(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, factor in enumerate(_GENERATOR):
            if top >> bit & 1:
                check ^= factor
    return check


def bech32(prefix: str, data: bytes) -> str:
    """An address as chains of that family write it (BIP 173)."""
    bits = int.from_bytes(data, "big") << -len(data) * 8 % 5
    count = -(-len(data) * 8 // 5)
    values = [bits >> 5 * (count - 1 - index) & 31 for index in range(count)]
    head = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    check = _checksum([*head, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [check >> 5 * (5 - index) & 31 for index in range(6)]
    return f"{prefix}1{''.join(_DIGITS[value] for value in values)}"


def derived_id(*parts: object) -> str:
    """A uuid that is the same for the same parts."""
    return str(uuid.uuid5(_SPACE, "-".join(map(str, parts))))


def iso(time_ms: int) -> str:
    """A time as the venue prints it: UTC, with milliseconds."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
