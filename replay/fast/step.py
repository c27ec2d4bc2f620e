"""
A strategy as one function of numbers, which runs compiled: `@step`.

```python
@step(every="100ms", parameters={"half_spread": 20, "size": 2}, state={"calls": 0})
def maker(now, why, q, me, p, s, act):
    s.calls += 1
    if not q[0].stale and q[0].bid and q[0].ask:
        keep(act, 0, 1, BUY, q[0].bid - p.half_spread, p.size)
        keep(act, 0, 2, SELL, q[0].ask + p.half_spread, p.size)
```

| argument | what                                                                                                        |
|----------|-------------------------------------------------------------------------------------------------------------|
| `now`    | logical time, ns since the epoch                                                                            |
| `why`    | bits of what calls it: `ON_QUOTE`, `ON_TRADE`, `ON_TIMER`, ... of `replay.fast.actions`                      |
| `q`      | of each pair its market: `bid`, `ask`, `bid_size`, `ask_size`, `last_price`, `last_size`, `last_side`, `tick`, `lot`, `stale`, `mark`, `funding` |
| `me`     | of each pair what it has: `position`, `open_buys`, `open_sells`, `orders`                                    |
| `p`      | parameters, by name                                                                                         |
| `s`      | numbers that live on from call to call, by name                                                             |
| `act`    | for the functions of `replay.fast.actions`                                                                  |

All are int64 (prices and sizes in units of the pair's market, 0 where there is none) or float64.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from copy import copy
from hashlib import blake2b
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from replay.fast.engine_layout import Why
from replay.results.run_record import RunRecord
from replay.strategy.backtesting import Carry, by_name, run_on_tape
from replay.strategy.loading import LoadedStrategy
from replay.strategy.plan import RunPlan
from replay.strategy.strategy import interval_ns
from replay.tape import Tape
from toolkit.errors import ConfigError
from toolkit.timing.times import Length, duration_ns

__all__ = ["Step", "check_number", "step"]

_ARGUMENTS: Final = ("now", "why", "q", "me", "p", "s", "act")
Number = int | float


class Step:
    """
    A step function, with what calls it; see `step`. Called like the function that it is.

    Attributes:
        function: As it was written.
        name: Its name.
        wakes: Events that call it.
        every_ns: Between two calls of its timer, ns; 0: none.
        min_gap_ns: Least time between two calls for quotes of a pair, ns; 0: none.
        parameters: Names and values of `p`.
        state: Names of `s`, and their values at the start.
        is_compiled: Whether runs are compiled.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        wakes: Why,
        every_ns: int,
        min_gap_ns: int,
        parameters: Mapping[str, Number],
        state: Mapping[str, Number],
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.wakes = wakes
        self.every_ns = every_ns
        self.min_gap_ns = min_gap_ns
        self.parameters = dict(parameters)
        self.state = dict(state)
        self.is_compiled = True
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__wrapped__ = function

    def __call__(self, *args: Any) -> None:
        """Call the function itself."""
        self.function(*args)

    def __repr__(self) -> str:
        return f"<step {self.name}: {', '.join(f'{name}={value!r}' for name, value in self.parameters.items())}>"

    def in_python(self) -> Step:
        """The same function, run as plain Python: for a debugger, and for what compiled runs do not do."""
        same = copy(self)
        same.is_compiled = False
        return same

    def loaded(self) -> LoadedStrategy:
        """The function as a strategy: what is assumed of a run is the same for both."""
        from replay.fast.step_strategy import strategy_of

        try:
            path: Path | None = Path(inspect.getsourcefile(self.function) or "")
            source = inspect.getsource(self.function).encode()
        except (OSError, TypeError):
            path, source = None, b""
        digest = blake2b(source, digest_size=16).hexdigest()
        folder = Path() if path is None else path.resolve().parent
        return LoadedStrategy(strategy_of(self), path, digest, frozenset([self.function.__code__.co_filename]), folder)

    def run(self, plan: RunPlan, tape: Tape, *, start_ns: int | None, end_ns: int | None, carry: Carry) -> RunRecord:
        """Run it on a tape, compiled unless `in_python` says otherwise."""
        if not self.is_compiled:
            return run_on_tape(plan, tape, start_ns=start_ns, end_ns=end_ns, carry=carry)[0]
        from replay.fast.backtesting import run_steps

        return run_steps([(self, plan)], tape, start_ns=start_ns, end_ns=end_ns, carry=carry)[0]


def step(
    function: object = None,
    /,
    *,
    every: Length | None = None,
    quotes: bool = False,
    books: bool = False,
    trades: bool = False,
    funding: bool = False,
    orders: bool = False,
    fills: bool = False,
    gaps: bool = False,
    start: bool = False,
    min_gap: Length | None = None,
    parameters: Mapping[str, Number] | None = None,
    state: Mapping[str, Number] | None = None,
) -> Callable[[Callable[..., Any]], Step]:
    """
    Make a step function of a function.

    Args:
        function: None: the function comes after the brackets, `@step(every="100ms")`.
        every: Call it at the multiples of this length of time since the epoch: `100ms`; 1 ms or more.
        quotes: When the best price or size of a side changes.
        books: After any message that changed a book.
        trades: For every new trade.
        funding: For every statement of funding, mark or index price.
        orders: When an answer about an own order is received.
        fills: When an execution is reported.
        gaps: When a book no longer holds, or holds again.
        start: Once, when the run begins.
        min_gap: At most one call for quotes of a pair within each such length of time.
        parameters: Names of `p`, with their values; whole numbers stay whole.
        state: Names of `s`, with their values at the start.

    Raises ConfigError for lengths of time and numbers that are none, for what is no function, and where nothing calls it.
    """
    if function is not None:
        name = getattr(function, "__name__", repr(function))
        raise ConfigError(f"{name}: @step is written with what calls it, for instance @step(every='100ms')")
    flags = (
        (quotes, Why.QUOTE),
        (books, Why.BOOK),
        (trades, Why.TRADE),
        (funding, Why.FUNDING),
        (orders, Why.ORDER),
        (fills, Why.FILL),
        (gaps, Why.GAP),
        (start, Why.START),
    )
    wakes = Why(sum(flag for is_wanted, flag in flags if is_wanted))
    every_ns = 0 if every is None else interval_ns("step: every", every)
    if min_gap is not None and not quotes:
        raise ConfigError(f"step(min_gap={min_gap!r}) spaces quotes, which are not asked for: say quotes=True")
    min_gap_ns = 0 if min_gap is None else duration_ns(str(min_gap))
    its_parameters = by_name("step: parameters", parameters, {"size": 1})
    its_state = by_name("step: state", state, {"count": 0})
    for what, numbers in (("parameter", its_parameters), ("state", its_state)):
        for name, value in numbers.items():
            if not name.isidentifier():
                raise ConfigError(f"step: {what} {name!r} is no name")
            check_number(f"step: {what} {name}", value)
            if what == "parameter" and not math.isfinite(value):
                raise ConfigError(f"step: {what} {name} is {value}, expected a finite number")

    def made(function: Callable[..., Any]) -> Step:
        if not isinstance(function, FunctionType):
            raise ConfigError(f"@step is given {function!r}, expected a function; one is a step function once")
        found = tuple(inspect.signature(function).parameters)
        if len(found) != len(_ARGUMENTS):
            raise ConfigError(
                f"{function.__name__}({', '.join(found)}): expected the arguments {', '.join(_ARGUMENTS)}"
            )
        if not (wakes or every_ns):
            raise ConfigError(f"{function.__name__}: nothing calls it; say for instance @step(every='100ms')")
        return Step(function, wakes, every_ns, min_gap_ns, its_parameters, its_state)

    return made


def check_number(what: str, value: Any) -> None:
    """Raise ConfigError for what a compiled function cannot be given."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{what} is {value!r}, expected a number")
    if isinstance(value, int) and not -(2**62) < value < 2**62:
        raise ConfigError(f"{what} is {value!r}, expected a number of 62 bits")
