"""Words of sentences that are put together: plurals."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, name: str, plural: str = "") -> str:
    """Such as `1 segment` or `2,000 segments`; a plural without an s is named."""
    return f"{count:,} {name if count == 1 else plural or name + 's'}"
