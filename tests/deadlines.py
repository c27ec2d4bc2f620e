"""
The one deadline of the tests: it ends what hangs, and measures no speed.

Nothing that works is near it on a machine that does twenty other things. A test that asks whether something is fast enough
belongs to `benchmarks`, and one that needs time to pass takes a clock that it moves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

__all__ = ["HANG_S", "within_deadline"]

T = TypeVar("T")

#: What is not done after that long has hung, seconds.
HANG_S: Final = 600.0


def within_deadline(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in a loop of its own; raises TimeoutError if it hangs."""

    async def main() -> T:
        async with asyncio.timeout(HANG_S):
            return await coroutine

    return asyncio.run(main())
