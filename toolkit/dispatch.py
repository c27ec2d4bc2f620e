"""
One dispatcher for all messages of a session, market and account alike.

A fill and the book change around it leave in the order they were received, because there is no second queue for them
to overtake each other in. Callbacks are the push path and run synchronously; async iterators are fed behind them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

from toolkit.errors import BackpressureError
from toolkit.messages import Message

__all__ = ["MessageCallback", "MessageDispatcher"]

MessageCallback = Callable[[Message], None]
M = TypeVar("M", bound=Message)

#: Messages an async listener may lag behind before it is cut off (live) or waited for (replay).
QUEUE_SIZE = 65_536


class _Listener(Generic[M]):
    """A bounded queue that one `async for` reads."""

    def __init__(self, wants: Callable[[Message], M | None], size: int) -> None:
        self._wants = wants
        self._size = size
        self._queue: deque[M] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._closed = False
        self._overrun = False

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, message: Message) -> None:
        wanted = self._wants(message)
        if wanted is None or self._overrun:
            return
        if len(self._queue) >= self._size:
            self._overrun = True
        else:
            self._queue.append(wanted)
        self._notify()

    def close(self) -> None:
        self._closed = True
        self._notify()

    async def get(self) -> M | None:
        """The next message, or None when no more will come. Safe to cancel."""
        while not self._queue:
            if self._overrun:
                raise BackpressureError(
                    f"an async listener fell {self._size:,} messages behind: read faster, or use set_message_callback"
                )
            if self._closed:
                return None
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._queue.popleft()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class MessageDispatcher:
    """
    Hands each message to the callbacks, in the order they were set, then to the listeners.

    An exception of a callback goes to the code that emitted the message: a strategy that fails must not fail silently.
    """

    def __init__(self) -> None:
        self._callbacks: list[MessageCallback] = []
        self._listeners: list[_Listener[Message]] = []
        self._is_closed = False

    def add_callback(self, callback: MessageCallback, *, first: bool = False) -> None:
        """Call it with every message, synchronously, in capture order; `first`: before those that were set already."""
        self._callbacks.insert(0 if first else len(self._callbacks), callback)

    def remove_callback(self, callback: MessageCallback) -> None:
        """Stop calling it; nothing happens if it was not set."""
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def emit(self, message: Message) -> None:
        """Hand a message on."""
        for callback in self._callbacks:
            callback(message)
        if self._listeners:
            for listener in self._listeners:
                listener.push(message)

    def listen(self, wants: Callable[[Message], M | None], size: int = QUEUE_SIZE) -> AsyncIterator[M]:
        """
        The messages for which `wants` returns one, from this call on, in order; ends when the source is done.

        Safe to cancel. Raises BackpressureError if the reader falls more than `size` messages behind a live source;
        a replay waits instead.
        """
        listener: _Listener[M] = _Listener(wants, size)
        self._listeners.append(listener)  # type: ignore[arg-type]  # it is only ever pushed to and closed here
        if self._is_closed:
            listener.close()
        return self._read(listener)

    async def _read(self, listener: _Listener[M]) -> AsyncIterator[M]:
        try:
            while (message := await listener.get()) is not None:
                yield message
        finally:
            self._listeners.remove(listener)  # type: ignore[arg-type]

    @property
    def backlog(self) -> int:
        """Messages the slowest listener has yet to read."""
        return max(map(len, self._listeners), default=0)

    def close(self) -> None:
        """No more messages will come: listeners end once they have read what they have."""
        self._is_closed = True
        for listener in self._listeners:
            listener.close()
