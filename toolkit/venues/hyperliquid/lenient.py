"""
Reads what can be read of a value with a part that is not as documented.

A venue adds statuses, types and fields without a word. Whatever is odd is noted, and takes nothing with it: an optional
field is left out of its item, an item out of its list. Only used where the strict decoder has refused a frame, so the
frames that are as documented pay nothing for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar, get_args

import msgspec

__all__ = ["ODDITIES_MAX", "Oddities", "items", "loose", "parts"]

T = TypeVar("T")

#: Kinds of oddities that are remembered as reported. Where a venue sends a new one in every frame, more are not reported.
ODDITIES_MAX: Final = 256
#: Fields left out of one item before it is given up.
_FIELDS_MAX: Final = 16

_PATH: Final = re.compile(r" - at `\$(.*)`$")
_NUMBER: Final = re.compile(r"[0-9]+")


class Oddities:
    """
    What was found odd, each kind reported once.

    Texts that differ in numbers alone are of one kind.
    """

    def __init__(self) -> None:
        self._reported: dict[str, None] = {}

    def news(self, found: Sequence[str]) -> list[str]:
        """Those of a kind that was not reported before; from now on they were."""
        new = []
        for text in found:
            kind = _NUMBER.sub("0", text)[:200]
            if kind not in self._reported and len(self._reported) < ODDITIES_MAX:
                self._reported[kind] = None
                new.append(text)
        return new

    def export(self) -> list[str]:
        """What was reported, for a checkpoint."""
        return list(self._reported)

    def restore(self, reported: Sequence[str]) -> None:
        """Become what `export` described."""
        self._reported = dict.fromkeys(reported)


def loose(raw: Any, kind: type[T], what: str, odd: list[str]) -> T | None:
    """
    The value as that kind of struct, without the optional fields that are not as documented; None if that is not enough.

    `odd` is given a line for each thing that was left out.
    """
    for _ in range(_FIELDS_MAX):
        try:
            return msgspec.convert(raw, kind, strict=False)
        except msgspec.ValidationError as exc:
            odd.append(f"{what}: {exc}")
            found = _PATH.search(str(exc))
            raw = _without(raw, kind, _names(found.group(1)) if found else [])
            if raw is None:
                return None
    return None


def items(raw: Any, kind: type[T], what: str, odd: list[str]) -> list[T]:
    """The items of a list that can be read."""
    if not isinstance(raw, list):
        odd.append(f"{what}: expected a list, found {type(raw).__name__}")
        return []
    return [item for each in raw if (item := loose(each, kind, what, odd)) is not None]


def parts(raw: Any) -> Iterator[tuple[str, Any]]:
    """The fields of an object; none of anything else."""
    if isinstance(raw, dict):
        yield from raw.items()


def _names(path: str) -> list[str]:
    """`.order.sz[0]` as names; an index ends it, since a list has no optional places."""
    names = []
    for part in path.split(".")[1:]:
        name, bracket, _ = part.partition("[")
        names.append(name)
        if bracket:
            break
    return names


def _without(raw: Any, kind: Any, path: Sequence[str]) -> Any:
    """The value less the deepest optional field on the path; None if there is none."""
    struct = _struct_of(kind)
    if struct is None or not path or not isinstance(raw, dict) or path[0] not in raw:
        return None
    name = path[0]
    field = next((each for each in msgspec.structs.fields(struct) if each.encode_name == name), None)
    if field is None:
        return None
    inner = _without(raw[name], field.type, path[1:])
    if inner is not None:
        return {**raw, name: inner}
    return None if field.required else {key: value for key, value in raw.items() if key != name}


def _struct_of(kind: Any) -> type[msgspec.Struct] | None:
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            return each
    return None
