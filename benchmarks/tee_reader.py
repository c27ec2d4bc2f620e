"""
A client of the tee for the `journal` benchmark, in a process of its own: takes what it is given until it is let go.

`python -m benchmarks.tee_reader URL` prints one line of JSON: frames, and whether their numbers were in order.
"""

from __future__ import annotations

import asyncio
import json
import sys

from benchmarks.harness import pin
from recordings.following.tee_client import TeeConnection
from toolkit.transport.websocket import Closed

__all__ = ["main"]


async def _read(url: str) -> dict[str, float]:
    tee = await TeeConnection.open(url, 0)
    count, next_seq, in_order = 0, 0, True
    while not isinstance(batch := await tee.receive(), Closed):
        in_order = in_order and batch[0].capture_seq == next_seq
        next_seq = batch[-1].capture_seq + 1
        count += len(batch)
    return {"frames": count, "in_order": in_order}


def main(url: str) -> int:
    """Read until the end."""
    pin(1)
    print(json.dumps(asyncio.run(_read(url))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
