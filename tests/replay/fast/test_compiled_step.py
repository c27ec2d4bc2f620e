"""What is compiled for a step function is kept under all that is compiled in: another value is other code."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import pytest

from recordings.columns.column_batch import Names
from replay.fast import compiled_step
from replay.fast.compiled_step import _file_for
from replay.fast.step import Step
from replay.fast.step_run import StepRun
from replay.strategy.backtesting import settings_of
from replay.strategy.plan import RunPlan
from toolkit.keys import PairKey

FUNCTION = """
import numpy as np
from math import floor
from numpy.linalg import norm

import settings_of_test
from settings_of_test import {imported}
from replay.fast.step import step
from tickdeck.actions import BUY, IOC, send


@step(every="1s")
def rises(now, why, q, me, p, s, act):
    if floor(np.sqrt(2.0)) and norm(s) > 0:
        send(act, 0, BUY, {used}, 1, IOC)
"""


def loaded(path: Path, text: str) -> Any:
    path.write_text(text)
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: str, used: str, *others: str) -> list[Path | None]:
    """Where code of one function is kept, by what another file says."""
    monkeypatch.setattr(compiled_step, "usable_folder", lambda **_: tmp_path)
    # Bytecode is found by the second and the size of its source, and these files are written again within one.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found: list[Path | None] = []
    for other in others:
        module: ModuleType = loaded(tmp_path / "settings_of_test.py", other)
        monkeypatch.setitem(sys.modules, "settings_of_test", module)
        function: Step = loaded(tmp_path / "rises.py", FUNCTION.format(imported=imported, used=used)).rises
        found.append(_file_for(function, ()))
    return found


@pytest.mark.parametrize(
    ("imported", "used", "one", "other"),
    [
        ("GAP", "GAP", "GAP = 1", "GAP = 2"),
        ("GAP as far", "settings_of_test.GAP", "GAP = 1\nx = 1", "GAP = 2\nx = 1"),
        ("GAP", "GAP", "import numpy as np\nGAP = np.int64(1)", "import numpy as np\nGAP = np.int64(2)"),
        ("GAP", "GAP[7]", "import numpy as np\nGAP = np.arange(5000)", "import numpy as np\nGAP = 0 - np.arange(5000)"),
        ("GAP", "GAP[0][1]", "GAP = ((1, 2), 3)", "GAP = ((1, 4), 3)"),
        (
            "Gap",
            "Gap.FAR",
            "import enum\nclass Gap(enum.IntEnum):\n    FAR = 1",
            "import enum\nclass Gap(enum.IntEnum):\n    FAR = 2",
        ),
        (
            "gap",
            "gap(1)",
            "import numba\n@numba.njit\ndef gap(x):\n    return x",
            "import numba\n@numba.njit\ndef gap(x):\n    return x + 1",
        ),
    ],
)
def test_another_value_elsewhere_is_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, imported: str, used: str, one: str, other: str
) -> None:
    """Else a run would go on with the number of before, and say nothing."""
    first, again, second = files(tmp_path, monkeypatch, imported, used, one, one, other)
    assert first is not None
    assert first == again
    assert second not in (first, None)


def test_what_has_no_value_that_can_be_told_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files(tmp_path, monkeypatch, "GAP", "GAP", "class Gap:\n    FAR = 1\nGAP = Gap()") == [None]
    assert files(tmp_path, monkeypatch, "Gap", "Gap.FAR", "class Gap:\n    FAR = 1") == [None]


def test_a_constant_of_the_actions_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in no kernel, and their defaults are compiled into every function that calls them."""
    taken: list[str] = []
    monkeypatch.setattr(compiled_step._Taken, "add_text", lambda self, text: taken.append(text))
    files(tmp_path, monkeypatch, "GAP", "GAP", "GAP = 1")
    assert any("def send(act" in text for text in taken)


SUMS = """
import numpy as np

from replay.fast.step import step


@step(every="1s", parameters={"count": 5}, state={"sum": 0})
def sums(now, why, q, me, p, s, act):
    s.sum += VALUE
"""


@pytest.mark.slow
@pytest.mark.parametrize(("value", "adds"), [("p.count + q[0].bid", 7), ("np.int64(np.arange(p.count).sum())", 10)])
def test_a_function_may_make_arrays_of_its_own(tmp_path: Path, value: str, adds: int) -> None:
    """References are counted for one that does, and for no other: counting those of a run takes longer than the rest."""
    function: Step = loaded(tmp_path / "sums.py", SUMS.replace("VALUE", value)).sums
    key = PairKey("hyperliquid", "A-B")
    plan = RunPlan(function.loaded(), [key], settings_of())
    engine = StepRun(plan, function, Names([key]), plan.open(0, waits=True)).engine
    engine.quotes["bid"] = 2

    @numba.njit  # type: ignore[untyped-decorator]  # numba has no types
    def call(pointer: Any, e: Any) -> Any:
        return pointer(0, 0, 0, e.quotes, e.me, e.parameters, e.state, e.hands)

    pointer = compiled_step.pointer_to(function, engine)
    assert [call(pointer, engine) for _ in range(3)] == [0, 0, 0]
    assert engine.state.tolist() == [3 * adds]
    assert ("NRT_decref" in pointer.inspect_llvm()) == ("arange" in value)
