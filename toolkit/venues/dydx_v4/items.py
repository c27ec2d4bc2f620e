"""
Reading lists of the venue's item by item, and items field by field: what is odd in one must not take the others along.

An item that cannot be used at all is lost, and said each time. A field that may be absent, and cannot be read, is taken
as absent; a word that is not known is kept as it is. Both are said once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any, Final, Generic, TypeVar

import msgspec

from toolkit.errors import ParseError
from toolkit.protocol import excerpt

__all__ = ["UNREADABLE", "Finding", "ItemReader", "Raws", "raw_items", "raw_list"]

T = TypeVar("T", bound=msgspec.Struct)

#: What may go wrong with the bytes of one item.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Raws = dict[str, msgspec.Raw]


class Finding(msgspec.Struct, frozen=True):
    """
    Something odd in a frame or reply that is otherwise understood.

    Attributes:
        text: Finding and expectation in one sentence.
        is_lost: Whether an item is lost by it. Otherwise all is kept, and saying it once is enough.
        symbol: The market it is about; empty for none.
        kind: Constant part of the text, which is written once, where the text has more in it.
    """

    text: str
    is_lost: bool = False
    symbol: str = ""
    kind: str = ""


class ItemReader(Generic[T]):
    """
    Reads items of one kind.

    Args:
        shape: The struct; fields without a default are required.
        what: The kind, for messages.
        check: Raises ParseError for an item that cannot be, and adds what is odd about others to the list.
    """

    def __init__(self, shape: type[T], what: str, check: Callable[[T, list[Finding]], None] | None = None) -> None:
        self._shape = shape
        self._what = what
        self._check = check
        self._decode = msgspec.json.Decoder(shape, strict=False).decode
        self._decode_fields = msgspec.json.Decoder(Raws).decode
        fields = msgspec.structs.fields(shape)
        self._fields = {field.encode_name: field for field in fields}
        self._readers = {field.encode_name: msgspec.json.Decoder(field.type, strict=False).decode for field in fields}
        self._numbers = [field.name for field in fields if not field.required and "float" in str(field.type)]

    def read(self, raw: bytes | msgspec.Raw, found: list[Finding], symbol: str = "") -> T | None:
        """One item; None for one that is lost."""
        try:
            try:
                item = self._decode(raw)
            except msgspec.ValidationError:
                item = self._by_fields(raw, found)
            for name in self._numbers:
                value = getattr(item, name)
                if value is not None and not isfinite(value):
                    setattr(item, name, None)
                    found.append(self._odd(name, f"{value}, expected a number"))
            if self._check is not None:
                self._check(item, found)
        except (ParseError, *UNREADABLE) as exc:
            found.append(Finding(f"{self._what} that cannot be read: {exc} in {excerpt(bytes(raw))}", True, symbol))
            return None
        return item

    def read_all(self, raws: Iterable[bytes | msgspec.Raw], found: list[Finding]) -> list[T]:
        """The items that are not lost, in their order."""
        items = [self.read(raw, found) for raw in raws]
        return [item for item in items if item is not None]

    def _odd(self, name: str, text: str) -> Finding:
        kind = f"{self._what}: {name}"
        return Finding(f"{kind} is {text}; it is left out", kind=kind)

    def _by_fields(self, raw: bytes | msgspec.Raw, found: list[Finding]) -> T:
        values: dict[str, Any] = {}
        for name, part in self._decode_fields(raw).items():
            field = self._fields.get(name)
            if field is None:
                continue
            try:
                values[field.name] = self._readers[name](part)
            except msgspec.ValidationError as exc:
                if field.required:
                    raise
                found.append(self._odd(name, f"{excerpt(bytes(part), 60)} ({exc})"))
        for field in self._fields.values():
            if field.required and field.name not in values:
                raise ParseError(f"without {field.encode_name}")
        return self._shape(**values)


_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_object: Final = msgspec.json.Decoder(Raws).decode


def raw_list(raw: bytes | msgspec.Raw | None, what: str, found: list[Finding]) -> list[msgspec.Raw]:
    """The items of an array that may be absent or null; anything else is lost as a whole."""
    if raw is None or bytes(raw) == b"null":
        return []
    try:
        return _decode_list(raw)
    except UNREADABLE as exc:
        found.append(Finding(f"{what} that cannot be read: {exc} in {excerpt(bytes(raw))}", True))
        return []


def raw_items(raw: bytes | msgspec.Raw | None, what: str, found: list[Finding]) -> Raws:
    """The values of an object that may be absent or null, by name; anything else is lost as a whole."""
    if raw is None or bytes(raw) == b"null":
        return {}
    try:
        return _decode_object(raw)
    except UNREADABLE as exc:
        found.append(Finding(f"{what} that cannot be read: {exc} in {excerpt(bytes(raw))}", True))
        return {}
