"""What a client of the model of dYdX v4 was given, and what it may never believe in the middle of anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tests.models.machine import Machine
from toolkit.messages import NO_ANSWER, EventKind, StreamEvent

__all__ = ["MARKS", "Given"]

#: Between which every oracle price is; those of settlements are not.
MARKS: Final = (900, 1100)
#: The channel whose snapshot alone ends a gap of a stream.
_CHANNELS: Final = {"full": "v4_orderbook", "trades": "v4_trades", "markets": "v4_markets", "funding": "v4_markets"}
#: Causes of gaps that end with any frame, or with an answer.
_CAUSES: Final = ("silence", NO_ANSWER, "no_data", "no_book", "behind")


class Given:
    """
    Positions as the newest statement that has reached the client has them, and the frame that reached it last.

    Of statements of one block, and of an answer beside one that names none, none is known to be the newest: each may be
    believed.
    """

    def __init__(self) -> None:
        #: Of each market the block of the newest statement, and the sizes that may be believed.
        self._stated: dict[str, tuple[int, set[float]]] = {}
        self._height = 0
        #: The blocks of frames that name none, by connection and number.
        self.bare: dict[tuple[str, int], int] = {}
        #: Up to which block a statement says nothing against one that named none.
        self._bare: dict[str, int] = {}
        self._snapshot: tuple[str, str] | None = None
        self._looked = 0

    def frame(self, frame: dict[str, Any], height: int) -> None:
        """A frame reaches the client; the chain is at that height."""
        is_snapshot = frame["type"] == "subscribed"
        self._snapshot = (frame["channel"], frame.get("id", "")) if is_snapshot else None
        contents = frame.get("contents")
        if frame.get("channel") != "v4_subaccounts" or not isinstance(contents, dict):
            return
        if is_snapshot:
            self._whole(contents["subaccount"], int(contents["blockHeight"]))
            return
        for row in contents.get("perpetualPositions", ()):
            if "blockHeight" not in contents:
                self._bare[row["market"]] = height + 1
            sent = self.bare.get((frame["connection_id"], frame["message_id"]), height)
            self._one(row["market"], float(row["size"]), int(contents.get("blockHeight", sent)), is_stream=True)

    def answer(self, tag: str, status: int, body: bytes, height: int) -> None:
        """An answer reaches the client."""
        self._snapshot = None
        if status == 200 and tag.startswith("subaccount:"):
            whole = msgspec.json.decode(body)["subaccount"]
            self._whole(whole, int(whole["latestProcessedBlockHeight"]))

    def _whole(self, whole: dict[str, Any], height: int) -> None:
        held = whole["openPerpetualPositions"]
        self._height = max(height, self._height)
        for market in {*held, *self._stated}:
            self._one(market, float(held[market]["size"]) if market in held else 0.0, height)

    def _one(self, market: str, size: float, height: int, *, is_stream: bool = False) -> None:
        known, _ = self._stated.get(market, (self._height, {0.0}))
        if height > (known if is_stream else max(known, self._bare.get(market, 0))):
            self._stated[market] = height, {size}
        elif height >= known:
            self._may(market, size)
            self._stated[market] = height, self._stated[market][1]

    def _may(self, market: str, size: float) -> None:
        self._stated.setdefault(market, (self._height, {0.0}))[1].add(size)

    def broken(self, machine: Machine, user: str) -> Iterator[str]:
        """What the client believes against what it was given, one line each."""
        yield from self._healed(machine)
        for market, (_, sizes) in self._stated.items():
            position = machine.users.positions.find(market)
            if position is None:
                continue
            mark = position.mark_price
            if mark is not None and not MARKS[0] <= mark <= MARKS[1]:
                yield f"{market} is marked at {mark}, which no oracle said"
            if float(position.size) in sizes:
                continue
            streams = [machine.protocol.streams.get("", f"{name} {user}") for name in ("account", "positions")]
            if all(stream is None or stream.is_live for stream in streams):
                yield f"the position in {market} is {position.size}, of the newest statement {sorted(sizes)}"

    def _healed(self, machine: Machine) -> Iterator[str]:
        now = machine.frames[-1].capture_seq  # what a control frame ends, such as a session, is no matter of frames
        for event in machine.messages[self._looked :]:
            if (
                event.capture_seq != now
                or not isinstance(event, StreamEvent)
                or event.kind is not EventKind.GAP
                or event.cause in _CAUSES
            ):
                continue
            name = "account" if event.stream.startswith("account ") else event.stream
            channel = "v4_subaccounts" if name == "account" else _CHANNELS.get(name)
            if channel is not None and (self._snapshot is None or self._snapshot[0] != channel):
                yield f"a gap of {event.stream} {event.symbol} ({event.cause}) ended without a snapshot"
        self._looked = len(machine.messages)
