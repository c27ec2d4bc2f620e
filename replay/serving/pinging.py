"""Pings of a venue that pings, and the end of connections that do not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from replay.serving.face import Pings
from toolkit.clock import NS_PER_S

__all__ = ["Pinged", "ping_regularly"]


class Pinged(Protocol):
    """A connection that can be pinged; `pongs` counts the answers."""

    pongs: int

    @property
    def is_open(self) -> bool:
        """Whether anything sent now can still arrive."""

    def ping(self) -> None:
        """Send a ping."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the connection."""


class Sleeper(Protocol):
    """A clock that can be waited on."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


async def ping_regularly(
    pings: Pings, peers: Callable[[], Iterable[Pinged]], now_ns: Callable[[], int], clock: Sleeper
) -> None:
    """Ping everybody, and end the connections that do not answer in time."""
    asked: dict[Pinged, tuple[int, int]] = {}
    next_ping_ns = now_ns() + round(pings.every_s * NS_PER_S)
    while True:
        due_ns = min([next_ping_ns, *(deadline_ns for _, deadline_ns in asked.values())])
        await clock.sleep(max(0, due_ns - now_ns()) / NS_PER_S)
        now = now_ns()
        for peer, (pongs, deadline_ns) in list(asked.items()):
            if peer.pongs > pongs or not peer.is_open:
                del asked[peer]
            elif now >= deadline_ns:
                del asked[peer]
                peer.close(pings.drop.code or 1000, pings.drop.reason)
        if now >= next_ping_ns:
            next_ping_ns = now + round(pings.every_s * NS_PER_S)
            for peer in peers():
                asked.setdefault(peer, (peer.pongs, now + round(pings.within_s * NS_PER_S)))
                peer.ping()
