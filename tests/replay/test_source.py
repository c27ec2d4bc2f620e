"""A recording as a data source: both interfaces, callbacks and iterators, and ends of every kind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.recording import Recording
from replay.source import FIDELITIES, Fidelity, ReplayDataSource
from tests.tapes import TS, bbo_frame, collector_line, import_files, messages_of, mixed_tape
from tests.toolkit.live_harness import in_loop
from toolkit.datasource import OrderBookTrackerDataSource, UserStreamTrackerDataSource
from toolkit.errors import ConfigError, NotARecording, SymbolError
from toolkit.messages import BestQuote, BookSnapshot, Message, Trade, UserStreamMessage

MS = TS // 1_000_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return mixed_tape(tmp_path_factory.mktemp("source") / "tape")


@pytest.fixture(scope="module")
def long_tape(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """More messages than may wait for a reader."""
    lines = [collector_line(TS + n, bbo_frame("BTC", MS, (1.0 + n % 7, 1.0), None)) for n in range(40_000)]
    return import_files(tmp_path_factory.mktemp("long") / "tape", b"".join(lines))


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("in_a_loop", [True, False])
def test_a_callback_gets_every_message_in_order(tape: Recording, fidelity: Fidelity, in_a_loop: bool) -> None:
    seen: list[Message] = []
    source = ReplayDataSource(tape.path, fidelity=fidelity, with_digest=True)
    source.set_message_callback(seen.append)

    async def run() -> None:
        async with source:
            await source.wait()

    if in_a_loop:
        asyncio.run(run())
    else:
        source.play()
    assert seen == messages_of(tape)
    assert source.message_count == len(seen)
    assert source.chain is not None
    assert source.chain.hexdigest() == tape.manifest.digest


def test_in_a_callback_the_book_is_that_of_the_message(tape: Recording) -> None:
    source = ReplayDataSource(tape)

    def look(message: Message) -> None:
        if isinstance(message, BookSnapshot | BestQuote) and message.fused:
            book = source.tracker.book(message.trading_pair)
            assert (book.ts_event, book.ts_recv) == (message.ts_event, message.ts_recv)

    source.set_message_callback(look)
    source.play()
    assert source.tracker.trading_pairs == ["#7510", "BTC-USD", "ETH-USD", "PURR-USDC"]


@settings(max_examples=10, deadline=None)
@given(st.sets(st.sampled_from(["BTC-USD", "ETH-USD", "PURR-USDC", "#7510"]), min_size=1), st.sampled_from(FIDELITIES))
def test_choosing_pairs_keeps_the_order_of_the_rest(tape: Recording, pairs: set[str], fidelity: Fidelity) -> None:
    """Both fidelities alike; what concerns whole connections comes along."""
    seen: list[Message] = []
    source = ReplayDataSource(tape, fidelity=fidelity, trading_pairs=pairs)
    source.set_message_callback(seen.append)
    source.play()
    assert seen == [message for message in messages_of(tape) if message.trading_pair in pairs | {""}]


def test_what_cannot_be_replayed_is_said_before_it_begins(tape: Recording, tmp_path: Path) -> None:
    with pytest.raises(
        SymbolError, match=r"^'DOGE-USD' is not in .*, expected one of #7510, BTC-USD, ETH-USD, PURR-USDC$"
    ):
        asyncio.run(ReplayDataSource(tape, trading_pairs=["DOGE-USD"]).initialize())
    with pytest.raises(NotARecording):
        asyncio.run(ReplayDataSource(tmp_path).initialize())
    with pytest.raises(ConfigError, match=r"^unknown fidelity 'exact', expected one of raw, normalized$"):
        ReplayDataSource(tape, fidelity="exact")  # type: ignore[arg-type]


@in_loop
async def test_it_is_both_interfaces(tape: Recording) -> None:
    source = ReplayDataSource(tape)
    assert isinstance(source, OrderBookTrackerDataSource)
    assert isinstance(source, UserStreamTrackerDataSource)
    async with source:
        for subscribe in (
            source.subscribe_to_order_updates,
            source.subscribe_to_balance_updates,
            source.subscribe_to_position_updates,
        ):
            await subscribe()
        await source.wait()
        book = await source.get_snapshot("BTC-USD")
        assert (book.trading_pair, book.is_stale) == ("BTC-USD", False)
        assert (await source.get_funding_info("BTC-USD")).mark_price == 5.0
        with pytest.raises(SymbolError):
            await source.get_snapshot("DOGE-USD")
        with pytest.raises(SymbolError):
            await source.get_funding_info("DOGE-USD")


@in_loop
async def test_it_begins_when_every_facet_that_was_taken_is_started(tape: Recording) -> None:
    source = ReplayDataSource(tape)
    market, account = source.market, source.user_stream
    assert isinstance(market, OrderBookTrackerDataSource)
    assert isinstance(account, UserStreamTrackerDataSource)
    seen: list[Message] = []
    account_seen: list[Message] = []
    market.set_message_callback(seen.append)
    account.set_message_callback(account_seen.append)
    await market.initialize()
    await market.start()
    for _ in range(5):
        await asyncio.sleep(0)
    assert seen == []
    await account.initialize()
    await account.start()
    await source.wait()
    assert seen == [message for message in messages_of(tape) if not isinstance(message, UserStreamMessage)]
    assert account_seen == []
    assert (await market.get_snapshot("BTC-USD")).trading_pair == "BTC-USD"
    assert (await market.get_funding_info("BTC-USD")).mark_price == 5.0
    await market.stop()
    await account.stop()


async def read(listener: AsyncIterator[Message], pause_every: int = 0) -> list[Message]:
    got = []
    async for message in listener:
        got.append(message)
        if pause_every and len(got) % pause_every == 0:
            await asyncio.sleep(0)
    return got


@in_loop
async def test_async_listeners_get_everything_however_slow_they_are(long_tape: Recording) -> None:
    """The replay waits for them, where a live source would cut them off."""
    source = ReplayDataSource(long_tape)
    slow = source.dispatcher.listen(lambda message: message)
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(read(slow, pause_every=1))
        async with source:
            await source.wait()
    assert len(reader.result()) == 40_000
    assert reader.result() == messages_of(long_tape)


@in_loop
async def test_each_kind_of_listener_gets_its_kind(tape: Recording) -> None:
    source = ReplayDataSource(tape)
    listeners = [
        source.listen_for_trades(),
        source.listen_for_order_book_snapshots(),
        source.listen_for_order_book_diffs(),
        source.listen_for_user_stream(),
    ]
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(read(listener)) for listener in listeners]
        async with source:
            await source.wait()
    trades, books, diffs, account = (reader.result() for reader in readers)
    assert trades == [message for message in messages_of(tape) if isinstance(message, Trade)] != []
    assert books == [message for message in messages_of(tape) if isinstance(message, BookSnapshot)] != []
    assert diffs == account == []


@in_loop
async def test_stopping_midway_leaves_nothing_running(long_tape: Recording) -> None:
    """And ends the listeners; stopping again does nothing."""
    source = ReplayDataSource(long_tape)
    seen: list[Message] = []
    source.set_message_callback(seen.append)
    listener = source.dispatcher.listen(lambda message: message)
    await source.initialize()
    await source.start()
    while not seen:  # noqa: ASYNC110  # the replay runs in turns
        await asyncio.sleep(0)
    await source.stop()
    count = len(seen)
    assert 0 < count < 40_000
    assert await read(listener) == seen
    await asyncio.sleep(0)
    assert len(seen) == count
    await source.stop()
    gc.collect()


@in_loop
async def test_what_a_callback_raises_comes_out_and_ends_the_replay(tape: Recording) -> None:
    source = ReplayDataSource(tape)
    count = 0

    def fail(message: Message) -> None:
        nonlocal count
        count += 1
        if count == 7:
            raise ZeroDivisionError("my strategy")

    source.set_message_callback(fail)
    listener = source.dispatcher.listen(lambda message: message)
    with pytest.raises(ZeroDivisionError, match=r"^my strategy$"):
        async with source:
            await source.wait()
    assert count == 7
    assert len(await read(listener)) == 6


def test_a_callback_that_fails_stops_play(tape: Recording) -> None:
    source = ReplayDataSource(tape)

    def fail(message: Message) -> None:
        raise ZeroDivisionError("at once")

    source.set_message_callback(fail)
    with pytest.raises(ZeroDivisionError, match=r"^at once$"):
        source.play()


def test_a_callback_can_be_taken_back(tape: Recording) -> None:
    source = ReplayDataSource(tape)
    seen: list[Message] = []
    source.set_message_callback(seen.append)
    source.set_message_callback(None)
    source.play()
    assert seen == []
