"""
Which runs of a class are done over the compiled engine: those of which all is known to be the same there.

What a strategy asks for is seen in the names of its source, and in those of the functions and classes of its own that it
names: a doubt is enough for the plain session.
"""

from __future__ import annotations

import copy
import platform
import sys
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from replay.fast.backtesting import why_not_compiled
from replay.fast.step_strategy import StepStrategy
from replay.strategy.plan import RunPlan
from replay.strategy.strategy import Strategy
from replay.tape import Tape

__all__ = ["unsuitable", "unsuitable_class"]

#: What the engine does not do, as the source of a strategy names it: a method, an argument, a field of a book.
_NOT_DONE: Final = frozenset(
    {
        "schedule_cancel",
        "stop",
        "take_profit",
        "twap",
        "good_til_blocks",
        "expires_ns",
        "GTD",
        "update_id",
        "stale_cause",
    }
)
#: What may reach any of these by a name that stands nowhere.
_DYNAMIC: Final = frozenset(
    {"getattr", "eval", "exec", "vars", "globals", "__dict__", "__getattribute__", "methodcaller"}
)
#: What is the session's own, and is not the same here.
_INSIDE: Final = frozenset({"_desk", "_session", "_exchange", "_market", "_books"})
_NAMES: Final = _NOT_DONE | _DYNAMIC | _INSIDE
#: What makes a copy of a book, by whatever name it goes there.
_COPYING: Final = (copy, copy.copy, copy.deepcopy)
#: Ours, and what has been looked at: a context is handed to none of them.
_KNOWN: Final = frozenset(
    {"tickdeck", "toolkit", "recordings", "replay", "analysis", "numpy", "polars", "pandas", "msgspec"}
)
#: Machines on which numbers are handed over in registers, and what follows them is left to the caller.
_MACHINES: Final = frozenset({"x86_64", "amd64", "aarch64", "arm64"})


def unsuitable(plan: RunPlan, tape: Tape) -> str:
    """Why a run is not done over the compiled engine, in words; empty where it is."""
    if platform.machine().lower() not in _MACHINES:
        return f"a machine of kind {platform.machine()}"
    if tape.fidelity != "normalized":
        return f"fidelity {tape.fidelity!r}"
    if _overlap(tape):
        # A frame goes by its number there, which one of each may have.
        return "recordings that overlap"
    return why_not_compiled(plan) or unsuitable_class(plan.loaded.cls)


def _overlap(tape: Tape) -> bool:
    spans = sorted(span for each in tape.recordings if (span := each.span) is not None)
    return any(after[0] <= before[1] for before, after in pairwise(spans))


def unsuitable_class(cls: type[Strategy]) -> str:
    """What of a class the compiled engine does not do, or may not do; empty where it does all of it."""
    if issubclass(cls, StepStrategy):
        return "a step function, which is compiled itself"
    for code, names in _codes_of(cls):
        for name in _names_in(code):
            if name in _NAMES or any(names.get(name) is each for each in _COPYING):
                return f"{name} in {code.co_qualname}"
    return ""


def _codes_of(cls: type[Any]) -> Iterator[tuple[CodeType, Mapping[str, Any]]]:
    """The code of a class and of all of its own that it names, each once, and what names stand for there."""
    seen: set[int] = set()
    own = frozenset(each.__module__ for each in cls.__mro__ if each not in (Strategy, object))
    waiting: list[Any] = [each for each in cls.__mro__ if each not in (Strategy, object)]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, type):
            waiting += [each for each in value.__mro__ if not _is_known(each.__module__, own)]
            waiting += _functions_of(value)
        elif isinstance(value, FunctionType):
            yield from ((code, value.__globals__) for code in _with_inner(value.__code__))
            names = {name for code in _with_inner(value.__code__) for name in code.co_names}
            there = value.__globals__
            found = [there[name] for name in names & there.keys()]
            found += [cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)]
            for each in found:
                if isinstance(each, ModuleType):
                    if not _is_known(each.__name__, own):
                        waiting += [vars(each)[name] for name in names & vars(each).keys()]
                elif isinstance(each, type | FunctionType):
                    if not _is_known(each.__module__, own):
                        waiting.append(each)
                elif not _is_known(type(each).__module__, own):
                    waiting.append(type(each))


def _functions_of(cls: type[Any]) -> Iterator[Any]:
    if cls in (Strategy, object):
        return
    for value in vars(cls).values():
        if isinstance(value, property):
            yield from (each for each in (value.fget, value.fset, value.fdel) if each is not None)
        elif isinstance(value, FunctionType):
            yield value
        elif (function := getattr(value, "func", None) or getattr(value, "__wrapped__", None)) is not None:
            yield function  # of a static or class method, a partial, a cached property, a wrapper


def _is_empty(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _with_inner(value)


def _names_in(code: CodeType) -> Iterator[str]:
    """Names that code uses, and texts that may be names: the names of arguments are among its constants."""
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from (each for each in value if isinstance(each, str))


def _is_known(module: str | None, own: frozenset[str]) -> bool:
    if module in own:
        return False  # a file of a strategy may be called like a module of Python
    root = (module or "").partition(".")[0]
    return root in _KNOWN or root in sys.stdlib_module_names or root == "builtins"
