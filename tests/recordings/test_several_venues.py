"""A venue of each folder in one recorder, killed, recovered and replayed as one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from examples.best_quotes import main as best_quotes
from recordings.care.recovery import recover
from recordings.care.verifying import verify
from recordings.format.manifest import MANIFEST_NAME
from recordings.journal.journal_reader import journal_segments
from recordings.recording import Recording
from recordings.storage.lock import FolderLock
from replay.embedded import EmbeddedVenue
from replay.source import ReplayDataSource
from tests.conformance.sessions import one_of_each_folder
from toolkit.clock import SystemClock
from toolkit.messages import BookDiff, BookSnapshot, Message

ROOT = Path(__file__).parents[2]
VENUES = one_of_each_folder()


async def _record_and_kill(folder: Path, config: Path) -> None:
    """A real process records all embedded venues and is killed once the journal has frames of each."""
    async with contextlib.AsyncExitStack() as stack:
        lines = [f'out = "{folder}"', 'flush = "50ms"']
        for name, pairs in VENUES.items():
            venue = await stack.enter_async_context(EmbeddedVenue(venue=name, clock=SystemClock(), seed=3))
            quoted = ", ".join(f'"{pair}"' for pair in pairs)
            lines += ["[[venue]]", f'name = "{name}"', f"pairs = [{quoted}]"]
            lines += [f'ws_url = "{venue.ws_url}"', f'rest_url = "{venue.rest_url}"']
        _write(config, lines)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "toolkit.cli",
            "record",
            "--config",
            str(config),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            while process.returncode is None:
                await asyncio.sleep(0.2)
                if _has_all(folder):
                    break
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
        await process.wait()


def _write(config: Path, lines: list[str]) -> None:
    config.write_text("\n".join(lines))


def _has_all(folder: Path) -> bool:
    if not (folder / MANIFEST_NAME).is_file():
        return False
    books = Counter(
        message.venue
        for batch in Recording.open(folder).messages()
        for message in batch
        if isinstance(message, BookSnapshot | BookDiff)
    )
    return all(books[venue] > 20 for venue in VENUES)


def test_venues_of_all_folders_killed_and_recovered_replay_with_one_digest(tmp_path: Path) -> None:
    """One counter, one order, one digest over all of them, whatever happened to the recorder."""
    folder = tmp_path / "tape"
    asyncio.run(_record_and_kill(folder, tmp_path / "record.toml"))
    assert journal_segments(folder)
    with FolderLock(folder):
        recover(folder, SystemClock())
    result = verify(folder)
    assert result.problems == []
    assert result.raw_digest == result.normalized_digest == result.recorded_digest
    messages = [message for batch in Recording.open(folder).messages() for message in batch]
    assert {message.venue for message in messages} == set(VENUES)
    assert [(m.capture_seq, m.sub_seq) for m in messages] == sorted((m.capture_seq, m.sub_seq) for m in messages)
    keys = Recording.open(folder).keys
    shared, several = Counter(key.trading_pair for key in keys).most_common(1)[0]
    assert several > 1
    source = ReplayDataSource(folder)
    for key in (key for key in keys if key.trading_pair == shared):
        alone = ReplayDataSource(folder, trading_pairs=key)
        seen: list[Message] = []
        alone.set_message_callback(seen.append)
        alone.play()
        assert seen == [m for m in messages if m.key == key or (m.venue == key.venue and not m.symbol)]
    source.play()
    assert source.tracker.keys == keys
    assert len(source.tracker.trading_pairs) == sum(map(len, VENUES.values()))
    assert best_quotes(folder) > 0
