"""The only module that makes random numbers; every generator is seeded and owned by who asked for it."""

from __future__ import annotations

import random
import secrets

__all__ = ["CountedRandom", "counted", "fresh_key", "fresh_seed", "seeded"]


def seeded(seed: int | str) -> random.Random:
    """A generator whose sequence depends on the seed alone, not on the process or the hash seed."""
    return random.Random(str(seed))


def fresh_seed() -> int:
    """An unpredictable seed, for jitter; never for anything that is recorded."""
    return secrets.randbits(64)


def fresh_key() -> bytes:
    """32 secret bytes, to hide addresses with; never written into a recording."""
    return secrets.token_bytes(32)


class CountedRandom(random.Random):
    """
    A seeded generator that counts what is drawn from it.

    Attributes:
        draws: Numbers drawn so far, of the two kinds that all others are made of.
    """

    draws = 0

    def random(self) -> float:
        """A number in [0, 1)."""
        self.draws += 1
        return super().random()

    def getrandbits(self, k: int, /) -> int:
        """A number of that many bits."""
        self.draws += 1
        return super().getrandbits(k)


def counted(seed: int | str) -> CountedRandom:
    """Like `seeded`, counted."""
    return CountedRandom(str(seed))
