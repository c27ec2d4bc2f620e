"""The end of the sealing process is seen whatever it has said before, and whoever waits for an answer of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from recordings.storage.lock import FolderLock
from recordings.writing.sealer_process import SealerDied, SealerProcess, _end_of
from tests.deadlines import within_deadline


def test_a_process_whose_pipe_is_full_is_seen_to_end() -> None:
    async def kill_a_talker() -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "while True: print('x' * 65536)", stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        while not process.stdout._paused:  # type: ignore[attr-defined]  # noqa: ASYNC110  # no more is read until it is wanted
            await asyncio.sleep(0)
        process.kill()
        return await _end_of(process)

    assert within_deadline(kill_a_talker()) == -signal.SIGKILL


@pytest.mark.parametrize("does", ["pass", "sys.stdout.write('x' * 65_000)", "sys.stdout.write('x' * 1_000_000)"])
def test_a_process_is_stopped_while_an_answer_of_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    """Whatever it says of what it is at work at: a recorder whose disk refuses ends sealing in the middle."""
    real = asyncio.create_subprocess_exec
    script = f"import pathlib, sys\nfor line in sys.stdin:\n  pathlib.Path('asked').touch()\n  {does}"

    async def start(*_: object, **__: object) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await real(sys.executable, "-c", script, cwd=tmp_path, stdin=pipe, stdout=pipe)

    async def ask(sealer: SealerProcess) -> None:
        with pytest.raises(SealerDied):
            await sealer.seal(0)

    async def stop_at_work() -> None:
        with FolderLock(tmp_path) as lock:
            sealer = SealerProcess(tmp_path, lock)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ask(sealer))
                while not (tmp_path / "asked").exists():  # noqa: ASYNC110  # another process makes it
                    await asyncio.sleep(0.001)
                await asyncio.gather(sealer.stop(), sealer.stop())

    monkeypatch.setattr("recordings.writing.sealer_process.asyncio.create_subprocess_exec", start)
    within_deadline(stop_at_work())


def test_a_process_that_is_there_is_not_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the one that has healed the recording: a second one would load all of it once more."""
    real = asyncio.create_subprocess_exec
    pids: list[int] = []

    async def start(*_: object, **__: object) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        made = await real(sys.executable, "-c", "import sys; sys.stdin.read()", stdin=pipe, stdout=pipe)
        pids.append(made.pid)
        return made

    async def start_twice() -> None:
        with FolderLock(tmp_path) as lock:
            sealer = SealerProcess(tmp_path, lock)
            await sealer.start()
            await sealer.start()
            await sealer.stop()

    monkeypatch.setattr("recordings.writing.sealer_process.asyncio.create_subprocess_exec", start)
    within_deadline(start_twice())
    assert len(pids) == 1
