"""Blocks that are free are used again, in place of being asked for from the system anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import resource
import numpy as np
from recordings.columns.free_memory import keep_freed_memory
{call}
for _ in range(3):
    np.empty(4 << 20, np.uint8)[:] = 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [np.empty(2 << 20, np.uint8) for _ in range(3)]
    for block in blocks:
        block[:] = 1
    del blocks, block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is meant")
def test_blocks_of_some_mib_are_not_asked_for_again() -> None:
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", _PROGRAM.format(call=call)], stdout=subprocess.PIPE, check=True
            ).stdout
        )
        for call in ("", "keep_freed_memory()")
    ]
    # Twenty times six MiB are 30,720 pages, once they are 1,536.
    assert faults[1] < 4_000
    assert faults[1] <= faults[0]
