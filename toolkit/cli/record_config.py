"""A recorder's configuration from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from toolkit.errors import ConfigError

__all__ = ["RecordConfig", "VenueConfig", "read_config"]


class VenueConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    A `[[venue]]` of the file.

    Attributes:
        name: Name of the venue.
        pairs: What to record of it; may be empty where `users` is not.
        channels: Which channels; empty for its default.
        users: Addresses whose account streams are recorded too.
        ws_url: In place of the venue's own.
        rest_url: Likewise.
        ca_file: Certificate authorities to trust besides the system's (PEM).
    """

    name: str
    pairs: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    ws_url: str | None = None
    rest_url: str | None = None
    ca_file: str | None = None


class RecordConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The whole file. Names are those of the command's options; what is left out is as the command has it.

    Attributes:
        venue: What to record.
        out: Folder of the recording.
        flush: Such as `250ms`.
        fsync: `always`, `interval` or `off`.
        rotate: Such as `1h`.
        rotate_mib: Size of a segment.
        keep_free_mib: Disk to leave free.
        status_port: Where the status pages are served.
        tee_port: Where clients can follow the recording.
        tee_host: Address of that port.
        key_file: Key under which addresses are replaced while recording.
        wait: Keep trying if a venue cannot be reached at first.
    """

    venue: tuple[VenueConfig, ...]
    out: str | None = None
    flush: str | None = None
    fsync: str | None = None
    rotate: str | None = None
    rotate_mib: int | None = None
    keep_free_mib: int | None = None
    status_port: int | None = None
    tee_port: int | None = None
    tee_host: str | None = None
    key_file: str | None = None
    wait: bool | None = None


def read_config(path: Path) -> RecordConfig:
    """The configuration in a file. Raises ConfigError that says which key is wrong."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is no TOML: {exc}") from None
    try:
        config = msgspec.convert(values, RecordConfig)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}: {exc}; see docs/operations.md for the keys there are") from None
    if not config.venue:
        raise ConfigError(f"{path} names no [[venue]]: nothing to record")
    for venue in config.venue:
        if not venue.pairs and not venue.users:
            raise ConfigError(f"{path}: venue {venue.name} names neither pairs nor users")
    return config
