"""
One small converter per step of the format version, old to new, over the manifest's plain JSON.

Tables of older versions are read as they are: columns added since are null in them. A step that needs more than that
rewrites the tables with `tickdeck renormalize`, and says so here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from recordings.format.schema import FORMAT_VERSION

__all__ = ["MIGRATIONS", "migrated"]

Migration = Callable[[dict[str, Any]], dict[str, Any]]

#: Version to the converter that leads to the next one.
MIGRATIONS: Final[dict[int, Migration]] = {
    # Version 2 brought checksums of the manifest and of pages; nothing is called by another name.
    1: lambda manifest: manifest,
}


def migrated(text: bytes, version: int) -> bytes:
    """The manifest's JSON as the present version would have written it."""
    if version == FORMAT_VERSION:
        return text
    manifest: dict[str, Any] = msgspec.json.decode(text)
    manifest["migrated_from"] = version
    for step in range(version, FORMAT_VERSION):
        manifest = MIGRATIONS[step](manifest)
        manifest["format_version"] = step + 1
    return msgspec.json.encode(manifest)
