"""A recording of accounts that is continued in a second session."""

from __future__ import annotations

import asyncio
from pathlib import Path

from recordings.recorder import Recorder, RecorderOptions, VenueRequest
from recordings.recording import Recording
from replay.embedded import EmbeddedVenue
from replay.source import FIDELITIES, ReplayDataSource
from tests.deadlines import HANG_S
from tests.replay.account_session import QuickClock
from toolkit.account_messages import Fill
from toolkit.messages import Message
from toolkit.protocol import ProtocolOptions
from toolkit.venue import find_venue

ROUNDS = 2


def test_a_second_session_tells_what_was_missed_in_between_and_nothing_twice(tmp_path: Path) -> None:
    """Fills of the pause are no history, and the whole replays as it was."""
    folder = tmp_path / "tape"
    live: list[Message] = []
    told: list[int] = []

    async def session(venue: EmbeddedVenue) -> None:
        wanted = VenueRequest(
            spec=find_venue("hyperliquid"),
            options=ProtocolOptions(pairs=("BTC-USD",), accounts=(venue.accounts["taker"],)),
            ws_url=venue.ws_url,
            rest_url=venue.rest_url,
        )
        recorder = Recorder(RecorderOptions(folder=folder, venues=[wanted], backoff_seed=1))
        before = len(live)
        recorder.dispatcher.add_callback(live.append)
        async with asyncio.TaskGroup() as group:
            run = group.create_task(recorder.run())
            while sum(isinstance(message, Fill) for message in live[before:]) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            recorder.stop()
            await run
        told.append(sum(isinstance(message, Fill) and message.is_history for message in live[before:]))

    async def main() -> None:
        async with asyncio.timeout(HANG_S), EmbeddedVenue(seed=3, clock=QuickClock(4)) as venue:
            for _ in range(ROUNDS):
                await session(venue)
                await asyncio.sleep(0.5)

    asyncio.run(main())
    fills = [(message.symbol, message.fill_id) for message in live if isinstance(message, Fill)]
    assert len(fills) == len(set(fills))
    assert told[0] > 0
    assert told[1] == 0
    recording = Recording.open(folder)
    assert len(recording.manifest.segments) == ROUNDS
    for fidelity in FIDELITIES:
        source = ReplayDataSource(recording, fidelity=fidelity, with_digest=True)
        replayed: list[Message] = []
        source.set_message_callback(replayed.append)
        source.play()
        assert source.chain is not None
        assert source.chain.hexdigest() == recording.manifest.digest
        own = [message for message in replayed if isinstance(message, Fill)]
        assert own == [message for message in live if isinstance(message, Fill)]
