"""The compiled engine as plain Python, and runs that are compared with it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from replay.fast import kernel_books, kernel_engine, step_run
from replay.fast.compiled_step import layout_of
from replay.fast.failed_call import ActionsOfArrays, Fields
from replay.fast.step import Step
from replay.fast_classes import class_run, run_ahead
from replay.many import step_forks
from replay.results.result import Result
from toolkit.kernels.compiling import plain

__all__ = ["check_same", "leave_uncompiled"]


def in_place(pointer: Step) -> Any:
    """A step function as the engine calls it, over the arrays themselves."""

    def call(now: Any, why: Any, pair: Any, q: Any, me: Any, parameters: Any, state: Any, hands: Any) -> int:
        kept = state.view(layout_of(pointer.state))
        s = Fields(kept[0])
        p = Fields(parameters.view(layout_of(pointer.parameters))[0])
        markets, mine = [Fields(row) for row in q], [Fields(row) for row in me]
        pointer.function(int(now), int(why), markets, mine, p, s, ActionsOfArrays(hands))
        for name in pointer.state:
            kept[name] = getattr(s, name)
        return 0

    return call


def leave_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fixture `uncompiled` does, with the constants of the engine as they are now."""

    def quietly(kernel: Any) -> Any:
        in_python = plain(kernel)

        def called(*args: Any) -> Any:
            with np.errstate(all="ignore"):
                return in_python(*args)

        return called

    names = ("run_rows", "start_run", "end_frame", "reach_time_of", "wake_pair_of", "close_run")
    kernels = SimpleNamespace(**{name: quietly(getattr(kernel_engine, name)) for name in names})
    for module in (step_run, step_forks, class_run, run_ahead):
        monkeypatch.setattr(module, "kernel_engine", kernels)
    monkeypatch.setattr(step_run, "room_for", quietly(kernel_books.room_for))
    monkeypatch.setattr(step_run, "pointer_to", lambda step, engine: in_place(step))


def check_same(one: Result, other: Result) -> None:
    for name in ("fills", "orders", "equity", "positions"):
        first, second = getattr(one, name), getattr(other, name)
        assert first.equals(second), (name, first, second)
    # With the deepest fall of each account, and how much of its profit may be doubted.
    assert one.info.accounts == other.info.accounts
