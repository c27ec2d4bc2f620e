"""
A step function as machine code behind a pointer, so that the engine is compiled once for all of them.

What is compiled for a function is kept beside the kernels, under a hash over its file and all that it takes from others: a
second run loads it. A function that stands in no file, or closes over values, is compiled in each process.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.core.ccallback import CFunc
from numba.core.dispatcher import Dispatcher
from numba.core.errors import NumbaError
from numba.extending import intrinsic

from replay.fast import kernel_actions, kernel_engine  # noqa: F401  # the first says what actions are, compiled
from replay.fast.engine_layout import Engine
from replay.fast.step import Step
from toolkit.errors import ConfigError
from toolkit.kernels.compiling import KeptCode, folder_of
from toolkit.kernels.disk_cache import are_compiled, note_compiled, usable_folder

__all__ = ["c_function", "layout_of", "note_engine", "packed", "pointer_to", "say_compiling", "signature_of"]

#: What is noted of once the engine is compiled.
_ENGINE: Final = "engine"

_WRAPPER: Final = """\
def call(now, why, pair, q, me, parameters, state, act):
    try:
        user(now, why, q, me, view_parameters(parameters), view_state(state), act)
    except Exception:
        return 1
    return 0
"""
_PLACE: Final = re.compile(r'File "([^"]+)", line (\d+)')


def layout_of(values: Mapping[str, Any]) -> np.dtype[np.void]:
    """The record that numbers of these names stand in, 8 bytes each; one that nobody names where there is none."""
    fields = [(name, "i8" if isinstance(value, int) else "f8") for name, value in values.items()]
    return np.dtype(fields or [("nothing", "i8")], align=True)


def packed(values: Mapping[str, Any]) -> npt.NDArray[np.int64]:
    """The numbers as that record, in words."""
    record = np.zeros(1, layout_of(values))
    for name, value in values.items():
        record[name] = value
    return record.view(np.int64)


def pointer_to(step: Step, engine: Engine) -> Any:
    """
    The function as compiled code that an engine takes.

    Where the engine will be compiled as well, a line on stderr says so.

    Raises ConfigError, which names the line, for what cannot be compiled.
    """
    say_compiling("step functions")
    signature = signature_of(engine)
    layouts = layout_of(step.parameters), layout_of(step.state)
    path = _file_for(step, layouts)
    try:
        try:
            # Counting references to the arrays of a run takes longer than what most functions do.
            return _compiled(step, layouts, signature, path, counts_references=False)
        except (NumbaError, RuntimeError):
            # It makes arrays of its own, which somebody has to let go of; or it is wrong, which is said then.
            return _compiled(step, layouts, signature, path, counts_references=True)
    except NumbaError as exc:
        raise ConfigError(_said(step, exc)) from None


def _compiled(
    step: Step, layouts: tuple[Any, ...], signature: Any, path: Path | None, *, counts_references: bool
) -> Any:
    options = {} if counts_references else {"_nrt": False}
    names: dict[str, Any] = {
        "user": numba.njit(boundscheck=True, **options)(step.function),
        "view_parameters": _view(layouts[0]),
        "view_state": _view(layouts[1]),
    }
    if path is None:
        exec(_WRAPPER, names)  # noqa: S102  # the text above
        return numba.cfunc(signature, **options)(names["call"])
    module = ModuleType(path.stem)
    vars(module).update(names)
    sys.modules[module.__name__] = module  # what was kept on disk is loaded into it, by its name
    # The file is for numba, which keeps code by files: what it holds after a power cut is of no consequence.
    exec(compile(_WRAPPER, path, "exec"), vars(module))  # noqa: S102  # the text above
    return c_function(vars(module)["call"], signature, **options)


def signature_of(engine: Engine) -> Any:
    """What an engine calls for a wake, as numba has it."""
    words = numba.typeof(engine.parameters)
    return types.int64(
        types.int64,
        types.int64,
        types.int64,
        numba.typeof(engine.quotes),
        numba.typeof(engine.me),
        words,
        words,
        numba.typeof(engine.hands),
    )


def c_function(function: Any, signature: Any, **options: Any) -> Any:
    """A function compiled to be called by its address; what is compiled is kept beside the kernels, if they are kept."""
    made: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options=options)
    if folder_of(function.__module__) is not None:
        made._cache = KeptCode(function)
    made.compile()
    return made


def say_compiling(what: str) -> None:
    """Say on stderr that the engine will be compiled to run something, unless it has been before."""
    if not are_compiled(_ENGINE):
        often = (
            "once for this version"
            if usable_folder(above=True)
            else "in every process: compiled code has no place here"
        )
        sys.stderr.write(f"tickdeck: compiling what runs {what}, {often}; it takes a minute or two\n")


def note_engine() -> None:
    """A run is over: the engine is compiled now, if it was that which ran."""
    run_rows: Any = kernel_engine.run_rows
    if run_rows.signatures:
        note_compiled(_ENGINE)


def _view(layout: np.dtype[np.void]) -> Any:
    """Words as a record of numbers."""
    record = numba.from_dtype(layout)

    @intrinsic  # type: ignore[untyped-decorator]  # numba has no types
    def view(typing_context: Any, array: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
            return builder.bitcast(data, context.get_value_type(record))

        return record(array), generate

    return view


def _file_for(step: Step, layouts: tuple[Any, ...]) -> Path | None:
    """A file of its own for what is compiled for a function; None where it cannot be told when that is out of date."""
    folder = usable_folder(above=True)
    if folder is None:
        return None
    taken = _Taken()
    taken.add_text(f"{step.function.__qualname__} {layouts} {_WRAPPER} references are not counted")
    try:
        if not taken.add(step.function):
            return None
        path = folder / "steps" / f"step_{taken.digest.hexdigest()}.py"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(_WRAPPER)
    except (OSError, TypeError):
        return None
    return path


class _Taken:
    """A hash over a function and all that it takes from elsewhere, which is compiled in as it is then."""

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=12)
        self._seen: set[FunctionType] = set()

    def add_text(self, text: str) -> None:
        """Add a text, and where it ends."""
        self.digest.update(f"{len(text)} {text}".encode())

    def add(self, value: Any, names: frozenset[str] = frozenset()) -> bool:
        """
        Add a value; of a module what of it has one of the names.

        Returns whether it was possible. Raises OSError and TypeError for a function that stands in no file.
        """
        if isinstance(value, Dispatcher):
            value = value.py_func
        if isinstance(value, FunctionType) and not _is_known(value.__module__):
            return self._add_function(value)
        if isinstance(value, tuple):
            self.add_text(f"tuple of {len(value)}")
            return all(self.add(each) for each in value)
        if isinstance(value, np.ndarray):
            self.add_text(f"{value.dtype.descr} {value.shape} {value.tobytes().hex()}")
        elif isinstance(value, type) and issubclass(value, enum.Enum):
            self.add_text(repr([(each.name, each.value) for each in value]))
        elif isinstance(value, ModuleType):
            if not _is_known(value.__name__):
                there = sorted(names & vars(value).keys())
                self.add_text(f"{value.__name__} {there}")
                return all(self.add(vars(value)[name], names) for name in there)
        elif value is None or isinstance(value, bool | int | float | complex | str | np.generic):
            self.add_text(f"{type(value).__name__} {value!r}")
        else:
            # Functions and classes of Python and numpy.
            return isinstance(value, np.ufunc) or (callable(value) and _is_known(str(value.__module__)))
        return True

    def _add_function(self, function: FunctionType) -> bool:
        if function in self._seen:
            return True
        self._seen.add(function)
        if function.__closure__:
            return False
        self.add_text(Path(inspect.getsourcefile(function) or "").read_text(encoding="utf-8"))
        names = _names_in(function.__code__)
        found = {name: function.__globals__[name] for name in sorted(names & function.__globals__.keys())}
        self.add_text(repr(list(found)))
        return all(self.add(value, names) for value in found.values())


def _names_in(code: CodeType) -> frozenset[str]:
    """The names that a function uses, and the functions within it."""
    return frozenset(code.co_names).union(*(_names_in(each) for each in code.co_consts if isinstance(each, CodeType)))


def _is_known(module: str) -> bool:
    """Whether a module is of a version that the folder is named by."""
    root = module.partition(".")[0]
    return root in {"numpy", "numba"} or root in sys.stdlib_module_names


def _said(step: Step, exc: NumbaError) -> str:
    own = inspect.getsourcefile(step.function)
    lines = [line for file, line in _PLACE.findall(str(exc)) if Path(file).name == Path(own or "").name]
    where = f"{Path(own).name}, line {lines[-1]}: " if own and lines else ""
    said = next((line.strip() for line in str(exc).splitlines()[1:] if line.strip()), str(exc))
    return (
        f"{where}{step.name} cannot be compiled: {said}; expected numbers and the functions of tickdeck alone"
        f" ({step.name}.in_python() runs it as plain Python)"
    )
