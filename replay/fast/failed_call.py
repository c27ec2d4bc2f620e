"""A call of a step function that failed, again in plain Python, on copies: there the error has its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from replay.fast import kernel_view
from replay.fast.compiled_step import layout_of
from replay.fast.engine_layout import Engine, Hands
from replay.fast.step import Step
from toolkit.kernels.compiling import plain

__all__ = ["ActionsOfArrays", "Fields", "call_again"]

_KERNELS: Final[dict[str, Any]] = {
    "send": kernel_view.send_order,
    "keep": kernel_view.keep_order,
    "amend": kernel_view.amend_order,
    "cancel": kernel_view.cancel_order,
    "cancel_all": kernel_view.cancel_all_orders,
    "open_count": kernel_view.order_count,
    "own": kernel_view.order_at,
    "level": kernel_view.level_of,
    "size_within": kernel_view.size_near,
    "price_to_fill": kernel_view.price_of_fill,
}


class Fields(SimpleNamespace):
    """The numbers of a record, as plain Python has them."""

    def __init__(self, record: Any) -> None:
        super().__init__(**{name: record[name].item() for name in record.dtype.names})


class ActionsOfArrays:
    """The functions that a step function calls, on copies of the arrays."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._kernels: dict[str, Callable[..., Any]] = {name: plain(kernel) for name, kernel in _KERNELS.items()}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        kernel = self._kernels[name]

        def called(*args: Any) -> Any:
            with np.errstate(all="ignore"):
                found = kernel(self._hands, *(np.int64(each) for each in args))
            return Fields(found) if name == "own" else found

        return called

    def woken_pair(self) -> int:
        return int(self._hands.clock["pair"][0])


def call_again(step: Step, values: Mapping[str, Any], engine: Engine, names: Sequence[str]) -> None:
    """Call a function as it was called when it failed. Raises what it raises."""
    copies: list[Any] = [each.copy() if isinstance(each, np.ndarray) else each for each in engine.hands]
    hands = Hands(*copies)
    state = engine.state_before.copy().view(layout_of(step.state))[0]
    q = [Fields(row) for row in engine.quotes]
    me = [Fields(row) for row in engine.me]
    clock = hands.clock[0]
    clock["acts"] = 0
    why = int(clock["called_why"])
    step.function(int(clock["now"]), why, q, me, SimpleNamespace(**values), Fields(state), ActionsOfArrays(hands))
