"""
Jobs of another system that are run again and again, each when it is asked for; run by that system's own interpreter.

`python -m benchmarks.peer_turns JOB FILE` prints a line of JSON with `version` and the names of the jobs once they are
ready, then for each name on stdin a line with the facts of a run.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final

from benchmarks.peer_hftbacktest import hftbacktest_turns

__all__ = ["main"]

_JOBS: Final[dict[str, tuple[str, Callable[[str], dict[str, Callable[[], dict[str, Any]]]]]]] = {
    "hftbacktest-compiled": ("hftbacktest", hftbacktest_turns)
}


def main(argv: Sequence[str]) -> int:
    """Serve; what the system itself prints goes to stderr."""
    package, prepare = _JOBS[argv[0]]
    results = os.dup(1)
    os.dup2(2, 1)

    def say(facts: dict[str, Any]) -> None:
        line = json.dumps(facts).encode() + b"\n"
        while line:
            line = line[os.write(results, line) :]

    jobs = prepare(argv[1])
    say({"version": version(package), "jobs": list(jobs)})
    for name in sys.stdin:
        say(jobs[name.strip()]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
