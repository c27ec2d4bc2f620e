"""Everything that `tickdeck record` can be asked for, with the types that its options give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

__all__ = ["RecordSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordSettings:
    """
    The settings of one recorder, a field for each key of `settings.SETTINGS`; those of `settings.OF_VENUE` come last.

    Attributes:
        out: Folder to write to; None to name one by venue and time.
        duration: Length of the session, seconds; None until it is stopped.
        until: End of the session, ns; None for none.
        flush: Interval of flushes, seconds.
        rotate: Length of a segment, seconds.
    """

    out: Path | None
    duration: float | None
    until: int | None
    pseudonyms: Path | None
    flush: float
    fsync: str
    rotate: float
    rotate_mib: int
    keep_free_mib: int
    status_port: int | None
    tee_port: int | None
    tee_host: str
    allow_host: tuple[str, ...]
    wait: bool
    json: bool
    channels: tuple[str, ...]
    users: tuple[str, ...]
    ws_url: str | None
    rest_url: str | None
    ca_file: Path | None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """The settings among the options of a command, by their keys."""
        return cls(**{field.name: given[field.name] for field in fields(cls)})

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The same with other values of some keys, as `Setting.read` gives them."""
        return replace(self, **values)

    def values(self) -> dict[str, Any]:
        """The value of each key."""
        return asdict(self)
