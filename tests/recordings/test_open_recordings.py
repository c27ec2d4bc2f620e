"""A recorder in a process of its own, with a segment every second, read meanwhile, killed, and read again."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import analysis
from recordings.care.recovery import recover
from recordings.format.manifest import MANIFEST_NAME
from recordings.queries.gaps import find_gaps
from recordings.reading.unsealed import unsealed_part
from recordings.recording import Recording
from replay.source import Fidelity, ReplayDataSource
from tests.embedded_recording import PAIRS, ROOT, embedded_venue, environment
from toolkit.clock import NS_PER_S, SystemClock
from toolkit.errors import RecordingError
from toolkit.messages import Message

pytestmark = pytest.mark.slow


@contextmanager
def recording(folder: Path, urls: dict[str, Any], *more: str, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`tickdeck record` at work."""
    command = [sys.executable, "-m", "toolkit.cli", "record", "hyperliquid", *PAIRS, "--out", str(folder)]
    command += ["--ws-url", urls["ws_url"], "--rest-url", urls["rest_url"], *more]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**environment(), **env}
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)


def until(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not is_so():
        assert process.poll() is None, "the recorder has ended"


def begun(folder: Path) -> bool:
    if not (folder / MANIFEST_NAME).exists():
        return False
    unsealed = unsealed_part(folder)
    return unsealed is not None and unsealed.frame_count > 0


def played(recording: Recording, fidelity: Fidelity) -> tuple[list[Message], str]:
    source = ReplayDataSource(recording, fidelity=fidelity, with_digest=True)
    seen: list[Message] = []
    source.set_message_callback(seen.append)
    source.play()
    assert source.chain is not None
    return seen, source.chain.hexdigest()


def numbers(recording: Recording) -> list[int]:
    return [frame.capture_seq for batch in recording.raw_frames() for frame in batch]


def read_it(folder: Path) -> tuple[int, list[Message], str]:
    """Every way of reading what is there now agrees; how many segments were sealed, and what was played."""
    opened = Recording.open(folder)
    tail = opened.tail
    end = tail.end_seq if tail is not None else opened.manifest.segments[-1].capture_seq_last + 1
    assert numbers(opened) == list(range(end))
    normalized, raw = played(opened, "normalized"), played(opened, "raw")
    assert normalized == raw
    assert analysis.scan(opened, "raw").collect()["capture_seq"].to_list() == list(range(end))
    find_gaps(opened)
    return len(opened.manifest.segments), *normalized


def test_a_recording_is_read_while_it_rotates_every_second(tmp_path: Path) -> None:
    """Neither doubled nor missing frames; whatever was read is the beginning of the finished recording."""
    folder = tmp_path / "tape"
    with embedded_venue() as urls, recording(folder, urls, "--rotate", "1s") as process:
        until(lambda: begun(folder), process)
        readings = [read_it(folder)]
        while readings[-1][0] < 5:
            readings.append(read_it(folder))
        early = Recording.open(folder)
        assert early.tail is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    whole, digest = played(Recording.open(folder), "normalized")
    for _, messages, _ in readings:
        assert messages == whole[: len(messages)]
    assert numbers(early) == list(range(early.tail.end_seq))
    assert digest == Recording.open(folder).manifest.digest
    assert unsealed_part(folder) is None


#: Names of `recordings.storage.crash_points`, by which the recorder or what seals for it is killed, and how often it may come there.
DEATHS = (
    "session-begun",
    "journal-batch-made:2",
    "journal-batch-written:9",
    "journal-closed",
    "journal-opened:2",
    "sealer/file-synced:3",
    "sealer/tables-written",
    "sealer/checkpoint-written",
    "sealer/manifest-written",
    "sealer/journal-removed",
)


@pytest.mark.parametrize("death", DEATHS)
def test_one_that_was_killed_is_read_as_it_will_be_recovered(
    tmp_path: Path, death: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tape"
    with embedded_venue() as urls, recording(folder, urls, "--rotate", "1s", TICKDECK_DIE_AT=death) as process:
        if death.startswith("sealer/"):
            # What seals was killed, and is started again; the recorder is killed after it.
            until(lambda: begun(folder) and (folder / "journal" / "000001.arrows").exists(), process)
            process.kill()
        process.wait()
    if not (folder / MANIFEST_NAME).exists():
        with pytest.raises(RecordingError):
            Recording.open(folder)
        return
    # A minute later: what may be lost until now depends on when it is looked at, for some seconds after a crash.
    for name in ("time_ns", "monotonic_ns"):
        now = getattr(SystemClock, name)
        monkeypatch.setattr(SystemClock, name, staticmethod(lambda now=now: now() + 60 * NS_PER_S))
    while (unsealed := unsealed_part(folder)) is not None and unsealed.work.holder is not None:
        pass  # what seals has not noticed yet
    dead = Recording.open(folder)
    assert dead.tail is None or dead.tail.unsealed.work.is_left
    found = played(dead, "normalized"), played(dead, "raw"), numbers(dead), find_gaps(dead).rows()
    healed = Path(shutil.copytree(folder, tmp_path / "healed"))
    recover(healed, SystemClock())
    again = Recording.open(healed)
    assert again.tail is None
    assert found == (played(again, "normalized"), played(again, "raw"), numbers(again), find_gaps(again).rows())
    assert found[0][1] == again.manifest.digest
