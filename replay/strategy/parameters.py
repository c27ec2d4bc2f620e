"""
Parameters of a strategy: its annotated attributes, set from outside by name.

`half_spread: int = 2` is a parameter that can be left out, `pair: str` one that has to be given. Names that begin with an
underscore and `ClassVar` are the strategy's own.
"""

from __future__ import annotations

import enum
import inspect
import math
import types
import typing
from collections import deque
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any, ClassVar, Final, get_origin

import msgspec

from replay.strategy.own_data import OwnData
from replay.strategy.strategy import Strategy
from toolkit.errors import ConfigError

__all__ = ["Parameter", "own_what_is_shared", "parameters_of", "set_parameters", "sets_of"]

_WORDS: Final = {"yes": "true", "no": "false", "none": "null", "on": "true", "off": "false"}
_MISSING: Final = object()
#: What can be changed in place, and stands in a class for all of its objects.
_SHARED: Final = (list, dict, set, bytearray, deque)


@dataclass(frozen=True, slots=True)
class Parameter:
    """
    One parameter.

    Attributes:
        name: Name of the attribute.
        kind: Its annotation.
        default: Its value in the class; not given where it has to be set.
    """

    name: str
    kind: Any
    default: Any = _MISSING

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is _MISSING

    def __str__(self) -> str:
        kind = self.kind.__name__ if isinstance(self.kind, type) else str(self.kind).replace("typing.", "")
        return f"{self.name}: {kind}" if self.is_required else f"{self.name}: {kind} = {_said(self.default)}"


def parameters_of(cls: type[Strategy]) -> dict[str, Parameter]:
    """
    The parameters of a strategy, in the order they stand in, those of its bases first.

    Raises ConfigError for an annotation that names nothing there is.
    """
    try:
        kinds = typing.get_type_hints(cls, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as exc:
        raise ConfigError(f"{cls.__name__}: an annotation cannot be read: {exc}") from None
    found = {}
    for base in reversed(cls.__mro__):
        for name in inspect.get_annotations(base) if base is not Strategy else ():
            if (
                name.startswith("_")
                or name == "wakes"
                or get_origin(kinds[name]) is ClassVar
                or kinds[name] is ClassVar
            ):
                continue
            found[name] = Parameter(name, kinds[name], getattr(cls, name, _MISSING))
    return found


def sets_of(cls: type[Strategy], given: Mapping[str, str]) -> list[dict[str, str]]:
    """
    The sets that several values of parameters make, as they are written on a command line: `half_spread=1,2,3`.

    Each value of each goes with each of the others; the last parameter changes fastest. A comma is part of the one value of
    a parameter that is text, own data or a sequence.

    Raises ConfigError for a value that is missing between two commas, or there twice.
    """
    kinds = parameters_of(cls)
    choices = []
    for name, text in given.items():
        kind = kinds[name].kind if name in kinds else str
        values = [text] if _has_commas(kind) else [part.strip() for part in text.split(",")]
        if not all(values) or len(set(values)) != len(values):
            raise ConfigError(f"--set {name}={text}: expected values that differ, for instance {name}=1,2,3")
        choices.append([(name, value) for value in values])
    return [dict(each) for each in product(*choices)]


def _has_commas(kind: Any) -> bool:
    """Whether the text of one value may have commas in it."""
    parts = typing.get_args(kind) if get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    return any(each in (str, OwnData, Any) or _is_sequence(each) for each in parts)


def own_what_is_shared(strategy: Strategy) -> None:
    """Give a strategy what its class has of lists, dicts and sets as its own: what one run appends is not that of the next."""
    for base in reversed(type(strategy).__mro__):
        for name, value in vars(base).items() if base is not Strategy and issubclass(base, Strategy) else ():
            if isinstance(value, _SHARED) and not name.startswith("__") and name not in vars(strategy):
                setattr(strategy, name, deepcopy(getattr(type(strategy), name)))


def set_parameters(strategy: Strategy, given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Set parameters of a strategy.

    Args:
        strategy: Has its defaults.
        given: Name to value, or to its text as it is written on a command line.

    Returns:
        All parameters, those left at their default too, as JSON has them: what the decision log begins with.

    Raises ConfigError for a name that is none, a value that does not fit, one that is no finite number, and for what has
    to be given and is not.
    """
    name_of_class = type(strategy).__name__
    known = parameters_of(type(strategy))
    for name in given:
        if name not in known:
            there = ", ".join(map(str, known.values())) or "none"
            raise ConfigError(f"{name_of_class} has no parameter {name!r}; it has {there}")
    values = {}
    for name, parameter in known.items():
        if name in given:
            value = _converted(name_of_class, parameter, given[name])
        elif parameter.is_required:
            raise ConfigError(f"{name_of_class} needs {parameter}, which has no default: say --set {name}=...")
        else:
            # A list that one run appends to is not that of the next.
            value = parameter.default if isinstance(parameter.default, OwnData) else deepcopy(parameter.default)
        if isinstance(value, float | Decimal) and not math.isfinite(value):
            raise ConfigError(f"{name_of_class}: {name} is {value}, expected a finite number")
        setattr(strategy, name, value)
        values[name] = value.path if isinstance(value, OwnData) else _as_json(name_of_class, name, value)
        try:
            msgspec.msgpack.encode(values[name])
        except OverflowError:
            raise ConfigError(f"{name_of_class}: {name} is {value!r}, expected whole numbers of 63 bits") from None
    return values


def _as_json(name_of_class: str, name: str, value: Any) -> Any:
    """As JSON has it; a set in the order of its values, which is the same in every process."""
    try:
        return msgspec.to_builtins(value, enc_hook=str, order="deterministic")
    except TypeError as exc:
        raise ConfigError(f"{name_of_class}: {name} is {value!r}, which cannot be written down: {exc}") from None


def _converted(name_of_class: str, parameter: Parameter, value: Any) -> Any:
    kind = parameter.kind
    if kind is OwnData:
        return value if isinstance(value, OwnData) else OwnData(str(value), _default_column(parameter))
    try:
        if isinstance(value, str):
            if kind is str:
                return value
            if kind is Decimal:
                return msgspec.convert(value, Decimal)
            text = _WORDS.get(value.strip().lower(), value.strip())
            if _is_sequence(kind):
                return msgspec.convert([part.strip() for part in value.split(",")], kind, strict=False)
            return msgspec.convert(text, kind, strict=False)
        return msgspec.convert(value, kind, strict=not (kind is float and type(value) is int))
    except (msgspec.ValidationError, ValueError, TypeError):
        raise ConfigError(f"{name_of_class}: {parameter.name} is {value!r}, expected {_expected(kind)}") from None


def _default_column(parameter: Parameter) -> str:
    return parameter.default.time if isinstance(parameter.default, OwnData) else "time"


def _is_sequence(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, tuple | list | frozenset | set)


def _expected(kind: Any) -> str:
    plain = {bool: "yes or no", float: "a finite number", int: "a whole number", str: "text", Decimal: "a number"}
    if kind in plain:
        return plain[kind]
    if get_origin(kind) is typing.Literal:
        return f"one of {', '.join(map(str, typing.get_args(kind)))}"
    if isinstance(kind, enum.EnumType):
        return f"one of {', '.join(str(each.value) for each in _members(kind))}"
    return f"a value of {kind.__name__ if isinstance(kind, type) else kind}"


def _members(kind: enum.EnumType) -> Iterable[enum.Enum]:
    return kind.__members__.values()


def _said(value: Any) -> str:
    return value.path if isinstance(value, OwnData) else f"{value!r}"
