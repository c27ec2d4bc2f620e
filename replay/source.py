"""
A recording as a data source: the same interface as the live one, and the same messages.

Two fidelities give the same messages and the same digest: `raw` runs the venues' protocols over the recorded frames,
`normalized` reads the messages back from their columns, which is faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, Literal

from recordings.normalize import Normalizer
from recordings.recording import Recording
from toolkit.datasource import OrderBookTrackerDataSource, UserStreamTrackerDataSource
from toolkit.digest import DigestChain
from toolkit.errors import ConfigError, SymbolError
from toolkit.facets import FacetHub, MarketFacet, UserStreamFacet
from toolkit.garbage import rare_collections
from toolkit.messages import FundingInfo, Message
from toolkit.orderbook import OrderBook
from toolkit.tracker import OrderBookTracker

__all__ = ["FIDELITIES", "Fidelity", "ReplayDataSource"]

Fidelity = Literal["raw", "normalized"]
FIDELITIES: Final = ("raw", "normalized")
#: Messages after which a running replay lets other tasks have a turn.
_TURN: Final = 2048
#: Messages an async listener may lag behind before the replay waits for it.
_BACKLOG_MAX: Final = 16_384


class ReplayDataSource(OrderBookTrackerDataSource, UserStreamTrackerDataSource):
    """
    Feeds a recording into whatever a live source can feed.

    Books are brought up to date before the callback is called, so `source.tracker.book(pair)` in a callback is the
    book as of that message.

    Args:
        recording: The recording or its folder.
        fidelity: `raw` or `normalized`.
        trading_pairs: Pairs to replay; None for all. Events of whole connections always come along.
        batch_rows: Rows read at a time; None to choose. Any number gives the same messages.
        with_digest: Keep the digest chain while replaying; only a replay of all pairs can be compared.

    Attributes:
        tracker: The order books.
        chain: The digest chain; None unless asked for.
        message_count: Messages emitted so far.
    """

    def __init__(
        self,
        recording: Recording | str | Path,
        *,
        fidelity: Fidelity = "normalized",
        trading_pairs: Collection[str] | None = None,
        batch_rows: int | None = None,
        with_digest: bool = False,
    ) -> None:
        super().__init__()
        if fidelity not in FIDELITIES:
            raise ConfigError(f"unknown fidelity {fidelity!r}, expected one of {', '.join(FIDELITIES)}")
        self._given = recording
        self._recording: Recording | None = None
        self._fidelity = fidelity
        self._pairs = trading_pairs
        self._batch_rows = batch_rows
        self.tracker = OrderBookTracker(checked=True)
        self.chain = DigestChain() if with_digest else None
        self.message_count = 0
        self._hub = FacetHub(self)
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    # -- life cycle --------------------------------------------------------------------------------------------

    @property
    def recording(self) -> Recording:
        """The recording, opened on first use. Raises RecordingError."""
        if self._recording is None:
            given = self._given
            self._recording = given if isinstance(given, Recording) else Recording.open(given)
        return self._recording

    async def initialize(self) -> None:
        """Open the recording. Raises RecordingError, or SymbolError for a pair that is not in it."""
        known = self.recording.trading_pairs
        for pair in self._pairs or ():
            if pair not in known:
                raise SymbolError(f"{pair!r} is not in {self.recording.path}, expected one of {', '.join(known)}")

    async def start(self) -> None:
        """Begin to emit, in a task of the running loop. Facets that were taken must all be started first."""
        if self._task is None and self._hub.are_all_started:
            self._is_stopped = False
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Stop emitting; raises what a callback raised, unless `wait` has done so."""
        self._is_stopped = True
        await self.wait()
        self.dispatcher.close()

    async def wait(self) -> None:
        """Until the recording is at its end. Raises what a callback or the reading raised."""
        if self._task is not None:
            task, self._task = self._task, None
            await task

    def play(self) -> None:
        """Emit the whole recording at once, without an event loop: the fastest way for callbacks."""
        with rare_collections():
            for messages in self._batches():
                self._emit(messages)
        self.dispatcher.close()

    async def _run(self) -> None:
        try:
            for messages in self._batches():
                for start in range(0, len(messages), _TURN):
                    self._emit(messages[start : start + _TURN])
                    await asyncio.sleep(0)
                    while self.dispatcher.backlog > _BACKLOG_MAX and not self._is_stopped:  # noqa: ASYNC110
                        await asyncio.sleep(0)  # the readers wake with the loop, not with an event
                    if self._is_stopped:
                        return
        finally:
            self.dispatcher.close()

    # -- messages ----------------------------------------------------------------------------------------------

    def _emit(self, messages: list[Message]) -> None:
        apply, emit = self.tracker.apply, self.dispatcher.emit
        update = self.chain.update if self.chain is not None else None
        for message in messages:
            book = apply(message)
            if update is not None:
                update(message, book)
            emit(message)
        self.message_count += len(messages)

    def _batches(self) -> Iterator[list[Message]]:
        recording = self.recording
        if self._fidelity == "normalized":
            yield from recording.messages(trading_pairs=self._pairs, batch_rows=self._batch_rows)
            return
        normalizer = Normalizer.for_sources(recording.manifest.sources)
        wanted = None if self._pairs is None else {*self._pairs, ""}
        batches = recording.raw_frames() if self._batch_rows is None else recording.raw_frames(None, self._batch_rows)
        for frames in batches:
            messages: list[Message] = []
            for frame in frames:
                messages += normalizer.messages(frame)
            if wanted is not None:
                messages = [message for message in messages if message.trading_pair in wanted]
            yield messages

    # -- the interfaces ----------------------------------------------------------------------------------------

    @property
    def market(self) -> MarketFacet:
        """The market facet alone, for code that wants an `OrderBookTrackerDataSource` of its own."""
        return MarketFacet(self._hub)

    @property
    def user_stream(self) -> UserStreamFacet:
        """The account facet alone, for code that wants a `UserStreamTrackerDataSource` of its own."""
        return UserStreamFacet(self._hub)

    async def get_snapshot(self, trading_pair: str) -> OrderBook:
        """The book as of the last message emitted. Raises SymbolError for a pair not heard of yet."""
        return self.tracker.book(trading_pair)

    async def get_funding_info(self, trading_pair: str) -> FundingInfo:
        """The newest funding as of the last message emitted. Raises SymbolError if there is none yet."""
        info = self.tracker.funding_info(trading_pair)
        if info is None:
            raise SymbolError(f"no funding of {trading_pair!r} in the recording so far")
        return info

    async def subscribe_to_order_updates(self) -> None:
        """Nothing to ask for: what was recorded comes."""

    async def subscribe_to_balance_updates(self) -> None:
        """Nothing to ask for: what was recorded comes."""

    async def subscribe_to_position_updates(self) -> None:
        """Nothing to ask for: what was recorded comes."""
