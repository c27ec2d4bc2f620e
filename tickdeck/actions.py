"""What a step function may call, and the names of what calls it: see `docs/fast.md`."""

from __future__ import annotations

from replay.fast import actions
from replay.fast.actions import *  # noqa: F403  # the list stands once, there

__all__ = actions.__all__
