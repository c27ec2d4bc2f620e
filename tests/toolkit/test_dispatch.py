"""One ordered stream of messages, pushed to callbacks and pulled by async iterators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.tapes import quote
from tests.toolkit.live_harness import in_loop
from toolkit.dispatch import MessageDispatcher
from toolkit.errors import BackpressureError
from toolkit.messages import Message

MESSAGES = [quote(None, None, capture_seq=number) for number in range(5)]


def every(message: Message) -> Message:
    return message


def even(message: Message) -> Message | None:
    return message if message.capture_seq % 2 == 0 else None


async def read_all(listener: AsyncIterator[Message]) -> list[Message]:
    return [message async for message in listener]


def test_callbacks_get_each_message_in_the_order_in_which_they_were_set() -> None:
    dispatcher, heard = MessageDispatcher(), []
    dispatcher.add_callback(lambda message: heard.append((1, message.capture_seq)))
    second = lambda message: heard.append((2, message.capture_seq))  # noqa: E731
    dispatcher.add_callback(second)
    dispatcher.emit(MESSAGES[0])
    dispatcher.remove_callback(second)
    dispatcher.remove_callback(second)
    dispatcher.emit(MESSAGES[1])
    assert heard == [(1, 0), (2, 0), (1, 1)]


def test_a_callback_that_fails_is_heard_of_by_whoever_emits() -> None:
    dispatcher = MessageDispatcher()

    def fail(message: Message) -> None:
        raise RuntimeError("a strategy's own")

    dispatcher.add_callback(fail)
    with pytest.raises(RuntimeError, match=r"^a strategy's own$"):
        dispatcher.emit(MESSAGES[0])


@in_loop
async def test_listeners_get_what_they_want_from_when_they_began_to_listen() -> None:
    dispatcher = MessageDispatcher()
    dispatcher.emit(MESSAGES[0])
    first, second = dispatcher.listen(every), dispatcher.listen(even)
    for message in MESSAGES[1:]:
        dispatcher.emit(message)
    assert dispatcher.backlog == 4
    dispatcher.close()
    assert await read_all(first) == MESSAGES[1:]
    assert await read_all(second) == [MESSAGES[2], MESSAGES[4]]
    assert dispatcher.backlog == 0
    assert await read_all(dispatcher.listen(every)) == []


@in_loop
async def test_a_listener_that_waits_is_woken_by_the_next_message_and_by_the_end() -> None:
    dispatcher = MessageDispatcher()
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(read_all(dispatcher.listen(every)))
        for message in MESSAGES:
            await asyncio.sleep(0)
            dispatcher.emit(message)
        await asyncio.sleep(0)
        dispatcher.close()
    assert reader.result() == MESSAGES


@in_loop
async def test_cancelling_a_reader_loses_no_message() -> None:
    dispatcher = MessageDispatcher()
    listener = aiter(dispatcher.listen(every))
    dispatcher.emit(MESSAGES[0])
    assert await anext(listener) == MESSAGES[0]
    other = dispatcher.listen(every)
    dispatcher.emit(MESSAGES[1])
    dispatcher.close()
    assert await anext(listener) == MESSAGES[1]
    assert await read_all(other) == [MESSAGES[1]]


@in_loop
async def test_a_listener_that_falls_behind_is_told_and_the_others_go_on() -> None:
    """It gets what it has, then the error: nothing in between is skipped."""
    dispatcher = MessageDispatcher()
    slow, quick = dispatcher.listen(every, size=2), dispatcher.listen(every)
    for message in MESSAGES:
        dispatcher.emit(message)
    dispatcher.close()
    got: list[Message] = []

    async def read() -> None:
        async for message in slow:
            got.append(message)  # noqa: PERF401  # what came before the error counts

    with pytest.raises(BackpressureError, match=r"^an async listener fell 2 messages behind: read faster, or "):
        await read()
    assert (got, await read_all(quick)) == (MESSAGES[:2], MESSAGES)
