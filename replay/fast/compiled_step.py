"""
A step function as machine code behind a pointer, so that the engine is compiled once for all of them.

What is compiled for a function is kept beside the kernels, under a hash over its file: a second run loads it. A function
that stands in no file, or closes over others' values, is compiled in each process.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from numba.core import cgutils, types
from numba.core.ccallback import CFunc
from numba.core.errors import NumbaError
from numba.extending import intrinsic

from replay.fast.engine_layout import Engine
from replay.fast.step import Step
from toolkit.errors import ConfigError
from toolkit.kernels.disk_cache import usable_folder

__all__ = ["layout_of", "packed", "pointer_to"]

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

    Raises ConfigError, which names the line, for what cannot be compiled.
    """
    words = numba.typeof(engine.parameters)
    signature = types.int64(
        types.int64,
        types.int64,
        types.int64,
        numba.typeof(engine.quotes),
        numba.typeof(engine.me),
        words,
        words,
        numba.typeof(engine.hands),
    )
    layouts = layout_of(step.parameters), layout_of(step.state)
    names: dict[str, Any] = {
        "user": numba.njit(boundscheck=True)(step.function),
        "view_parameters": _view(layouts[0]),
        "view_state": _view(layouts[1]),
    }
    path = _file_for(step, layouts)
    try:
        if path is None:
            exec(_WRAPPER, names)  # noqa: S102  # the text above
            return numba.cfunc(signature)(names["call"])
        spec = spec_from_file_location(path.stem, path)
        assert spec is not None, "it is a file of Python"
        assert spec.loader is not None, "it is a file of Python"
        module = module_from_spec(spec)
        vars(module).update(names)
        sys.modules[module.__name__] = module  # what was kept on disk is loaded into it, by its name
        spec.loader.exec_module(module)
        made = CFunc(vars(module)["call"], (signature.args, signature.return_type), locals={}, options={})
        made.enable_caching()
        try:
            made.compile()
        except NumbaError:
            raise
        except Exception:  # noqa: BLE001  # unpickling what a power cut left raises anything
            made = CFunc(vars(module)["call"], (signature.args, signature.return_type), locals={}, options={})
            made.compile()
        return made
    except NumbaError as exc:
        raise ConfigError(_said(step, exc)) from None


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
    folder, function = usable_folder(), step.function
    try:
        source = Path(inspect.getsourcefile(function) or "").read_bytes()
    except (OSError, TypeError):
        return None
    if folder is None or function.__closure__:
        return None
    digest = hashlib.blake2b(digest_size=12)
    digest.update(source)
    digest.update(f"{function.__qualname__} {layouts} {_WRAPPER}".encode())
    # What it takes from elsewhere is compiled in.
    for name in sorted(function.__code__.co_names):
        value = function.__globals__.get(name)
        if isinstance(value, int | float | str | tuple):
            digest.update(f"{name}={value!r}".encode())
    path = folder / "steps" / f"step_{digest.hexdigest()}.py"
    try:
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(_WRAPPER)
    except OSError:
        return None
    return path


def _said(step: Step, exc: NumbaError) -> str:
    own = inspect.getsourcefile(step.function)
    lines = [line for file, line in _PLACE.findall(str(exc)) if Path(file).name == Path(own or "").name]
    where = f"{Path(own).name}, line {lines[-1]}: " if own and lines else ""
    said = next((line.strip() for line in str(exc).splitlines()[1:] if line.strip()), str(exc))
    return (
        f"{where}{step.name} cannot be compiled: {said}; expected numbers and the functions of tickdeck alone"
        f" ({step.name}.in_python() runs it as plain Python)"
    )
