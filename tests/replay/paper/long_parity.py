"""
Two minutes of paper against an embedded venue, or as long as told, with forced disconnects; then the comparison.

Example:  python -m tests.replay.paper.long_parity --seconds 120
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

from recordings.recording import Recording
from replay.paper.comparing import compare, described
from replay.paper.log_file import PaperLog, paper_logs
from tests.replay.paper.sessions import PAIRS, Paper, on_paper

#: Disconnects of each kind, in equal parts of the session.
_PARTS: Final = 6


async def session(folder: Path, names: tuple[str, ...], seconds: float) -> Paper:
    """A session of that length: dropped connections, and closes with a reason, in turns."""
    async with on_paper(folder, *names) as paper:
        for part in range(_PARTS):
            await asyncio.sleep(seconds / _PARTS)
            if part < _PARTS - 1 and part % 2:
                paper.venues[part % len(names)].close_connections(1012, "deploy")
            elif part < _PARTS - 1:
                paper.venues[part % len(names)].drop_connections()
    return paper


def main() -> int:
    """Run all of them, one after the other; the exit status is 1 where one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("venues", nargs="*", default=[*PAIRS, "hyperliquid+dydx_v4"])
    given = parser.parse_args()
    status = 0
    for each in given.venues:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "tape"
            paper = asyncio.run(session(folder, tuple(each.split("+")), given.seconds))
            for fidelity in ("raw", "normalized"):
                log = PaperLog(paper_logs(folder)[0])
                comparison = compare(log, paper.plan, Recording.open(folder), fidelity=fidelity)
                verdict = "equal" if comparison.is_equal else "DIFFERENT"
                print(f"{each} {fidelity}: {verdict}, {comparison.rows} rows, {comparison.replay_digest}", flush=True)  # noqa: T201
                if comparison.difference is not None:
                    status = 1
                    difference = comparison.difference
                    for name in ("paper", "replay", "before"):
                        print(f"  {name}: {described(getattr(difference, name))}")  # noqa: T201
                    print(f"  {difference.what}")  # noqa: T201
    return status


if __name__ == "__main__":
    sys.exit(main())
