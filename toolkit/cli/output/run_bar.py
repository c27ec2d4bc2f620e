"""How far a run is: a line on stderr where that is a terminal, never longer than the terminal is wide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from toolkit.clock import NS_PER_S, perf_ns

__all__ = ["run_bar"]

#: No line for what is over sooner.
_QUIET_NS = NS_PER_S
_RATE_STEP_NS = NS_PER_S // 4


@contextmanager
def run_bar(name: str, start_ns: int, end_ns: int) -> Iterator[Callable[[int, int], None] | None]:
    """
    Show how much of the time of a tape was played, how many events a second, and how long the rest takes.

    Args:
        name: Label of the bar.
        start_ns: First time.
        end_ns: Last.

    Yields:
        A function to call with the number of events since the last call and the time of the last one; None where nothing
        is shown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)),
        BarColumn(None, table_column=Column(ratio=1, min_width=4)),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}", markup=False, table_column=Column(no_wrap=True)),
        TimeRemainingColumn(compact=True),
        console=console,
        transient=True,
        expand=True,
    )
    task = bar.add_task(name, total=max(1, end_ns - start_ns), rate="")
    began, shown_ns, events, is_shown = perf_ns(), 0, 0, False

    def advance(count: int, now_ns: int) -> None:
        nonlocal shown_ns, events, is_shown
        events += count
        spent = perf_ns() - began
        if not is_shown and spent > _QUIET_NS:
            bar.start()
            is_shown = True
        if is_shown and spent - shown_ns > _RATE_STEP_NS:
            shown_ns = spent
            rate = f"{events * NS_PER_S // spent:,} events/s"
            bar.update(task, completed=min(max(now_ns - start_ns, 0), end_ns - start_ns), rate=rate)

    try:
        yield advance
    finally:
        if is_shown:
            bar.stop()
