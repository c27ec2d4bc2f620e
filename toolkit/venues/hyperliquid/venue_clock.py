"""The venue's clock, as the times in what it sends tell it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from toolkit.clock import NS_PER_MS, NS_PER_S
from toolkit.frames import Frame

__all__ = ["VenueClock"]

#: Newest stamps that are asked; a clock that was set is followed when more than half as many have come since.
_STAMPS: Final = 12
#: Stamps that are no further apart agree: some were longer on their way.
_AGREE_NS: Final = 3 * NS_PER_S
#: Books and quotes that nothing held up are 0.24 to 0.94 s old when they arrive.
_CONFIRM_NS: Final = NS_PER_S
#: What a slow road held up comes at once.
_TOGETHER_NS: Final = NS_PER_S
#: For longer nothing is held up: a connection that brings nothing for that long is given up.
_HELD_NS_MAX: Final = 40 * NS_PER_S

#: Number of the connection, our monotonic clock and the venue's time, ns.
_Stamp = tuple[int, int, int]
#: What a stamp says that the venue's time is ahead of our monotonic clock; its connection; our monotonic clock; ns.
_Vote = tuple[int, int, int]


class VenueClock:
    """
    What time it was at the venue when something was received or sent here.

    A stamp is late by as long as its frame was on its way; it is ahead only where a clock at the venue was wrong.

    - On one connection frames arrive in the order in which they were sent, so of stamps that contradict each other
      those are dropped without which the most agree.
    - What was held up arrives together. The last of it was held up least, so it speaks for all.
    - What most of the stamps then agree on counts, and of those that agree the one that was least delayed: late by a
      quarter of a second. One that nothing confirms which came by another way, or at another moment, may be a little
      ahead, and is passed over for one that is confirmed.
    - Where as many say otherwise our wall clock decides which are wrong, and of those that may only be late the least
      late counts. Without a stamp our wall clock is all there is. It may be seconds off.

    Attributes:
        stamped: Call it with connection, our monotonic clock and the venue's time, ns. The path of every book and quote.
    """

    def __init__(self) -> None:
        self._stamps: deque[_Stamp] = deque(maxlen=_STAMPS)
        self.stamped = self._stamps.append
        self._wall_offset = 0

    @property
    def has_stamps(self) -> bool:
        """Whether the venue has reported its time."""
        return bool(self._stamps)

    def received(self, time_ms: int, frame: Frame) -> None:
        """Something was received that the venue stamped as it was sent."""
        self.stamped((frame.conn_id, frame.ts_mono, time_ms * NS_PER_MS))

    def saw(self, frame: Frame) -> None:
        """Note our own wall clock."""
        self._wall_offset = frame.ts_recv - frame.ts_mono

    def at(self, mono_ns: int) -> int:
        """The venue's time at a moment of our monotonic clock, ns."""
        if not self._stamps:
            return mono_ns + self._wall_offset
        plain = [time_ns - stamp_ns for _, stamp_ns, time_ns in self._stamps]
        if max(plain) - min(plain) <= _AGREE_NS:
            # The usual case: none contradicts another by as much as matters.
            return mono_ns + max(plain)
        votes = [
            vote
            for line in {conn_id for conn_id, _, _ in self._stamps}
            for vote in _votes(_in_order([stamp for stamp in self._stamps if stamp[0] == line]))
        ]
        counts = [sum(0 <= vote[0] - each[0] <= _AGREE_NS for each in votes) for vote in votes]
        believed = [vote[0] for vote, count in zip(votes, counts, strict=True) if count == max(counts)]
        nearest = min(believed, key=lambda offset: (abs(offset - self._wall_offset), offset))
        best = max(offset for offset in believed if offset - nearest <= _HELD_NS_MAX)
        agreeing = [vote for vote in votes if 0 <= best - vote[0] <= _AGREE_NS]
        confirmed = (vote[0] for vote in agreeing if any(_confirms(each, vote) for each in agreeing))
        return mono_ns + max(confirmed, default=best)

    def forget(self) -> None:
        """The monotonic clock of another process begins elsewhere, and that of a machine that slept stood still."""
        self._stamps.clear()

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return [self._wall_offset, *self._stamps]

    def restore(self, state: Sequence[Any]) -> None:
        """Become what `export` described."""
        self._wall_offset = state[0] if state else 0
        self._stamps.clear()
        self._stamps.extend((conn_id, mono_ns, time_ns) for conn_id, mono_ns, time_ns in state[1:])


def _in_order(stamps: Sequence[_Stamp]) -> list[_Stamp]:
    """
    Of the stamps of one connection, in the order of their receipt, the most of which none is before an earlier one.

    Of as many those that span the least time, since a wrong clock is far off; of those all.
    """
    # Of the best chain from each on: its length, and less its last time.
    best: list[tuple[int, int]] = [(0, 0)] * len(stamps)
    nexts: list[list[int]] = [[] for _ in stamps]
    for place in reversed(range(len(stamps))):
        time_ns = stamps[place][2]
        later = [each for each in range(place + 1, len(stamps)) if stamps[each][2] >= time_ns]
        if not later:
            best[place] = (1, -time_ns)
            continue
        found = max(best[each] for each in later)
        nexts[place] = [each for each in later if best[each] == found]
        best[place] = (found[0] + 1, found[1])
    values = [(count, last + stamp[2]) for (count, last), stamp in zip(best, stamps, strict=True)]
    kept = {place for place, value in enumerate(values) if value == max(values)}
    for place in range(len(stamps)):
        if place in kept:
            kept.update(nexts[place])
    return [stamps[place] for place in sorted(kept)]


def _votes(stamps: Sequence[_Stamp]) -> Iterator[_Vote]:
    """
    What each of these is ahead of our monotonic clock, or what the least delayed is that came with it.

    The stamps are those of one connection, in the order of their receipt.
    """
    for place, (conn_id, mono_ns, time_ns) in enumerate(stamps):
        offset = time_ns - mono_ns
        together = [time - mono for _, mono, time in stamps[place:] if mono - mono_ns <= _TOGETHER_NS]
        yield max(each for each in together if each - offset <= _HELD_NS_MAX), conn_id, mono_ns


def _confirms(vote: _Vote, other: _Vote) -> bool:
    """Whether both say the same, and did not come together."""
    is_apart = vote[1] != other[1] or abs(vote[2] - other[2]) > _TOGETHER_NS
    return is_apart and abs(vote[0] - other[0]) <= _CONFIRM_NS
