"""
The height of the chain, from whatever tells one: a single wild number must not move it for good.

Heights order what the venue says, end orders and part history from news. So one is believed only if the chain can have
come so far in the time that went by, or if a later block agrees with it: a chain that begins again is followed, too.
The same number on another connection is the same block reported twice, and no agreement.
"""

from __future__ import annotations

import msgspec

from toolkit.clock import NS_PER_S

__all__ = ["ChainHeight"]

#: A block takes half a second or more; ten in a second are never made.
PER_S_MAX = 10
#: What two tellers may differ by.
SLACK = 1_000


class ChainHeight(msgspec.Struct):
    """
    The newest height that is believed.

    Attributes:
        newest: Newest height; 0 before the first.
        ts: When it was received, ns, by our clock.
        doubted: The last one that was not believed; 0 for none.
    """

    newest: int = 0
    ts: int = 0
    doubted: int = 0

    def note_height(self, height: int, ts: int) -> bool:
        """A frame reported that height, received at `ts` ns; returns whether it is believed."""
        if height <= 0:
            return False
        elapsed_s = abs(ts - self.ts) // NS_PER_S
        is_near = self.newest - SLACK <= height <= self.newest + SLACK + elapsed_s * PER_S_MAX
        if not self.newest or is_near:
            if height >= self.newest:
                self.newest, self.ts = height, ts
            self.doubted = 0
            return True
        if self.doubted and 0 < height - self.doubted <= SLACK:
            self.newest, self.ts, self.doubted = height, ts, 0
            return True
        self.doubted = height
        return False

    def bounded(self, height: int) -> int:
        """A height of an earlier statement, or the highest that may be believed if it is above."""
        return min(height, self.newest + SLACK) if self.newest else height
