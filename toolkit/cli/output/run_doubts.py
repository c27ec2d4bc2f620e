"""What of a run rests on nothing, or on facts that are old: said on stderr, after its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from toolkit.cli.output.results import counted, say

if TYPE_CHECKING:
    from replay.results.result import Result

__all__ = ["say_doubts"]


def say_doubts(results: Sequence[Result]) -> None:
    """
    Say of the runs of one command what may be doubted: pairs that never had a book, old facts, funding left out.

    Each line is said once; where runs differ in a count it has the highest of them.
    """
    for line in dict.fromkeys(line for each in results for line in _of_tape(each)):
        say(line, err=True)
    if unset := _most(results, "schedule_cancel_refused", "time"):
        say(f"The dead man's switch was refused {unset}: the decision log says why", err=True)
    if missed := _most(results, "funding_missed", "funding settlement"):
        say(f"No rate or price was recorded of {missed}, which are left out", err=True)


def _of_tape(result: Result) -> Iterator[str]:
    from replay.backtest.gap_policy import NO_BOOK

    for gap in result.info.gaps:
        if gap.cause == NO_BOOK:
            yield (
                f"{gap.trading_pair} on {gap.venue} never has a whole book there (see `tickdeck gaps`):"
                " no order was matched on it"
            )
    for preset in result.info.presets:
        if preset.days_older:
            yield (
                f"The facts of {preset.venue} (fees, margin, limits) are of {preset.date}, {counted(preset.days_older, 'day')}"
                " older than the tape"
            )


def _most(results: Sequence[Result], count: str, what: str) -> str:
    """A count of the runs in words, `up to` the highest where they differ; empty where all are 0."""
    counts = {each.info.counts.get(count, 0) for each in results}
    if not max(counts):
        return ""
    return counted(max(counts), what) if len(counts) == 1 else f"up to {counted(max(counts), what)}"
