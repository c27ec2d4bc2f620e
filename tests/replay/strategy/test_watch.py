"""Bounds on callbacks: what computes for ever ends, and what has to wait for the machine does not."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from replay.strategy.watch import TookTooLong, Watch
from tests.deadlines import HANG_S
from toolkit.clock import cpu_ns_of


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Counts how often the thread of a watch has looked."""
    looks = threading.Semaphore(0)

    def counted(thread: int) -> int | None:
        looks.release()
        return cpu_ns_of(thread)

    monkeypatch.setattr("replay.strategy.watch.cpu_ns_of", counted)
    return looks


def test_what_computes_for_ever_ends() -> None:
    watch = Watch(0.05)
    with pytest.raises(TookTooLong):
        watch.call(lambda: [None for _ in iter(int, 1)])
    watch.close()


def test_what_waits_for_the_machine_is_not_ended_by_the_clock(
    looked: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at for twice as long as it may compute, while it does nothing."""
    monkeypatch.setattr("replay.strategy.watch.WAITS", 1_000_000)
    watch = Watch(0.04)
    finished = []

    def waits() -> None:
        for _ in range(8):  # a look each quarter of the bound
            assert looked.acquire(timeout=HANG_S)
        finished.append(True)

    watch.call(waits)
    watch.close()
    assert finished
    assert watch.slowest_ns > 40_000_000


def test_what_waits_for_ever_ends_as_well(looked: threading.Semaphore) -> None:
    watch = Watch(0.02)

    def waits() -> None:
        while True:
            looked.acquire(timeout=HANG_S)

    with pytest.raises(TookTooLong):
        watch.call(waits)
    watch.close()


def test_where_no_thread_says_what_it_computed_the_clock_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("replay.strategy.watch.cpu_ns_of", lambda _: None)
    watch = Watch(0.02)
    pause = threading.Event()
    with pytest.raises(TookTooLong):
        watch.call(lambda: [pause.wait(0.001) for _ in iter(int, 1)])
    watch.close()


def test_of_many_callbacks_each_has_as_long(looked: threading.Semaphore, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first of them began is of no matter; the one that does not end is ended, and those after it are not."""
    monkeypatch.setattr("replay.strategy.watch.WAITS", 1000)
    watch = Watch(0.04)

    def call(function: Callable[[], object]) -> None:
        number = watch._count = watch._count + 1
        watch._since = 1  # long ago
        try:
            function()
        finally:
            watch._since = 0
            if watch._asked == number:
                watch.settle(number)

    def waits() -> None:
        for _ in range(3):
            assert looked.acquire(timeout=HANG_S)

    for _ in range(2):
        watch.begin_many()
        call(waits)
        with pytest.raises(TookTooLong):
            call(lambda: [None for _ in iter(int, 1)])
        call(waits)
    watch.call(waits)
    watch.close()
