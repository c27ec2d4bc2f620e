"""What may happen to what the storage machine does, and when: drawn for each thing that it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hypothesis import strategies as st

from recordings.storage.crash_points import STEPS
from tests.interruptions import FAULTS, POWER_CUT

__all__ = ["CARE", "ENDING", "RECORDING", "SEALING"]

#: What rewrites a recording, by the names that the machine gives them.
_REWRITES: Final = ("compact", "compact some", "renormalize", "prune", "compact")
_faults = st.sampled_from(["kill", "kill", POWER_CUT, POWER_CUT, *FAULTS, None])


def _trouble(
    steps: Sequence[str], instants: int, count_max: int = 4, faults: st.SearchStrategy[Any] = _faults
) -> st.SearchStrategy[Any]:
    """
    Nothing, or what happens and when: one of the faults at one of the steps or at any instant. Somebody looks then.

    Args:
        steps: Names of the steps that are likely to come.
        instants: About how many of them there are.
        count_max: How often a step may come before it is the one.
    """
    when = st.one_of(
        st.tuples(st.sampled_from(steps), st.sampled_from([1, 1, 1, *range(1, count_max + 1)])),
        st.tuples(st.integers(0, instants // 5), st.just(1)),
        st.tuples(st.integers(0, instants), st.just(1)),
    )
    return st.one_of(st.none(), *[st.tuples(when, faults)] * 4)


_journal_steps = [name for name in STEPS if name.startswith("journal-")]
RECORDING: Final = _trouble(_journal_steps, 12, 2)
SEALING: Final = _trouble(STEPS[4:-3], 60)
#: What a session that ends meets while it writes the last of its journal.
ENDING: Final = _trouble(["journal-batch-made", "journal-batch-written", "journal-closed"], 8, 1, _faults)
_file_steps = [name for name in STEPS if name.startswith("file-")]
_rewrite_steps = [name for name in STEPS if name.startswith("rewrite-")]
_rewriting = _trouble([*_file_steps, *_rewrite_steps, *_rewrite_steps], 150)
#: A command, and what is likely to happen to it: `recover` seals, the others rewrite.
CARE: Final = st.one_of(
    st.tuples(st.just("recover"), SEALING),
    st.tuples(st.sampled_from(_REWRITES), _rewriting),
)
