"""The end of the sealing process is seen whatever it has said before."""

from __future__ import annotations

import asyncio
import signal
import sys

from recordings.writing.sealer_process import _end_of
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
