"""
Which polls were answered, and since when one is not.

What is asked for by REST comes in a rhythm as a stream does. An answer that fails to come is an event, and a gap that
the next one ends, though that may hold all that was missed: until then it was not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolkit.frames import Frame
from toolkit.messages import NO_ANSWER, EventKind, Message
from toolkit.streams import Stream

if TYPE_CHECKING:
    from toolkit.protocol import VenueProtocol

__all__ = ["Polls"]


class Polls:
    """
    The polls of one protocol, by symbol (empty for what is of the whole venue) and name.

    Args:
        protocol: Makes the events.
    """

    def __init__(self, protocol: VenueProtocol) -> None:
        self._protocol = protocol
        self._answered: dict[tuple[str, str], int] = {}
        self._open: dict[tuple[str, str], int] = {}

    def answered(self, frame: Frame, symbol: str, name: str, messages: list[Message]) -> None:
        """An answer came; if one was missing, the gap that this ends is put first. Call it before all else."""
        start = self._open.pop((symbol, name), None)
        self._answered[symbol, name] = frame.ts_recv
        if start is not None:
            event = self._protocol.event(
                frame,
                EventKind.GAP,
                stream=self._stream(symbol, name),
                sub_seq=len(messages),
                cause=NO_ANSWER,
                ts_start=start,
                ts_end=max(frame.ts_recv, start),
            )
            messages.append(event)

    def failed(self, frame: Frame, symbol: str, name: str, messages: list[Message]) -> None:
        """No answer came; nothing happens if that is known."""
        if (symbol, name) in self._open:
            return
        start = self._open[symbol, name] = self._answered.get((symbol, name), frame.ts_recv)
        event = self._protocol.event(
            frame,
            EventKind.STALE,
            stream=self._stream(symbol, name),
            sub_seq=len(messages),
            cause=NO_ANSWER,
            ts_start=start,
        )
        messages.append(event)

    def _stream(self, symbol: str, name: str) -> Stream:
        return Stream(symbol, self._protocol.trading_pair(symbol) if symbol else "", name)

    def export(self) -> Any:
        """Everything, for a checkpoint."""
        return [[*key, ts] for key, ts in self._answered.items()], [[*key, ts] for key, ts in self._open.items()]

    def restore(self, state: Any) -> None:
        """Become what `export` described."""
        self._answered, self._open = ({(symbol, name): ts for symbol, name, ts in rows} for rows in state)
