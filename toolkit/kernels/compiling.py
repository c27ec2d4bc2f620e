"""How a kernel is compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar, Final, ParamSpec, TypeVar

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic
from numba.extending import intrinsic

from toolkit.kernels.disk_cache import is_checked, kernel_folder, usable_folder

__all__ = [
    "KeptCode",
    "check_bounds",
    "copy_bytes",
    "float_bits",
    "highest_bit",
    "inlined",
    "kernel",
    "load_word",
    "lowest_bit",
    "plain",
    "store_word",
    "swap_bytes",
    "unlocked",
]

P = ParamSpec("P")
R = TypeVar("R")

#: Whether every access to memory is checked: for tests, since it takes half as long again.
IS_CHECKED: Final = is_checked()


def check_bounds(context: Any, builder: Any, array_type: Any, array: Any, at: Any, count: Any) -> None:
    """
    Raise IndexError unless `count` elements from `at` on are in a one-dimensional array.

    Where code is compiled to be checked only (`NUMBA_BOUNDSCHECK=1`): numba checks indices then, and what reads and
    writes memory past it has to check for itself.
    """
    if not IS_CHECKED:
        return
    length = cgutils.create_struct_proxy(array_type)(context, builder, array).nitems
    zero = ir.Constant(length.type, 0)
    is_negative = builder.or_(builder.icmp_signed("<", at, zero), builder.icmp_signed("<", count, zero))
    is_past = builder.icmp_signed(">", builder.add(at, count), length)
    with builder.if_then(builder.or_(is_negative, is_past), likely=False):
        context.call_conv.return_user_exc(builder, IndexError, ("memory outside of an array",))


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """
    Compile a function at its first call, and keep the machine code on disk.

    Arithmetic is IEEE's, without the liberties of `fastmath`: results are the same on every platform. A kernel
    allocates nothing, so references need not be counted (`_nrt`): counting the arrays that are taken out of a tuple
    takes as long as the rest.
    """
    return _compiled(function, {})


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """
    The same for what becomes a part of each kernel that calls it.

    For what is called often with tuples of many arrays: these go with a call by value, seven words for each array.
    """
    return _compiled(function, {"forceinline": True})


def unlocked(function: Callable[P, R]) -> Callable[P, R]:
    """
    The same for what has thousands of rows to do at each call: other threads run meanwhile.

    To let go of the interpreter and to take it again costs more than what most kernels do, and what has it by then may
    keep it for milliseconds.
    """
    return _compiled(function, {"nogil": True})


def _compiled(function: Callable[P, R], options: dict[str, Any]) -> Callable[P, R]:
    made: Any = numba.njit(error_model="numpy", boundscheck=IS_CHECKED, _nrt=False, **options)
    compiled = made(function)
    if folder_of(function.__module__) is not None:
        compiled._cache = KeptCode(function)
    kept: Callable[P, R] = compiled
    return kept


def folder_of(module: str) -> Path | None:
    """Where the machine code of a module's functions is kept; None where there is no place for it."""
    return usable_folder() if module.startswith("toolkit.") else usable_folder(above=True)


class _Place(UserProvidedCacheLocator):  # type: ignore[misc]  # numba has no types
    """
    Where the machine code of a function is, below `folder_of` its module, by the name of that module's package.

    numba goes by where the source is installed: a second installation of the same version would compile all of it once
    more, though the name of the folder says that it is the same code.
    """

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file
        self._lineno = function.__code__.co_firstlineno
        package = function.__module__.rpartition(".")[0]
        self._cache_path = str((folder_of(function.__module__) or kernel_folder()) / (package or "steps"))

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        """The place for a function, if it can be made."""
        found = cls(function, file)
        with suppress(OSError):
            found.ensure_cache_path()
            return found
        return None


class _KeptResult(CompileResultCacheImpl):  # type: ignore[misc]  # numba has no types
    _locator_classes: ClassVar[list[type[Any]]] = [_Place]


class KeptCode(FunctionCache):  # type: ignore[misc]  # numba has no types
    """What is kept of a function on disk. It is a matter of speed: a disk that is full, or files that are torn, stop no work."""

    _impl_class = _KeptResult

    def load_overload(self, *args: Any, **options: Any) -> Any:
        """Machine code for a signature; None where there is none, or none that can be read."""
        try:
            return super().load_overload(*args, **options)
        except Exception:  # noqa: BLE001  # unpickling what a power cut left raises anything
            return None

    def save_overload(self, *args: Any, **options: Any) -> None:
        """Keep machine code, where there is room."""
        with suppress(Exception):  # a torn index is read before it is written
            super().save_overload(*args, **options)


def plain(function: Callable[P, R]) -> Callable[P, R]:
    """
    The same source as plain Python, with all the kernels that it calls.

    For work that is done before compiling would be, for tests, which compare the two, and for stepping through a kernel.
    Numbers are numpy's scalars, whose arithmetic is that of compiled code; call it with `numpy.errstate(all="ignore")`,
    since compiled code does not warn.
    """
    in_python: Callable[P, R] = _plain(function, {})
    return in_python


def _plain(function: Any, seen: dict[Any, Any]) -> Any:
    if function not in seen:
        source = function.py_func
        names = dict(source.__globals__)
        # Before what it calls, so that kernels may call each other in circles.
        seen[function] = FunctionType(source.__code__, names, source.__name__, source.__defaults__)
        for name in source.__code__.co_names:
            found = names.get(name)
            if isinstance(found, Dispatcher):
                names[name] = _plain(found, seen)
            elif name in _IN_PYTHON and isinstance(found, _Intrinsic):
                names[name] = _IN_PYTHON[name]
    return seen[function]


#: What some of the instructions below do, in Python.
_IN_PYTHON: Final[dict[str, Callable[..., Any]]] = {
    "highest_bit": lambda value: int(value).bit_length() - 1,
    "lowest_bit": lambda value: (int(value) & -int(value)).bit_length() - 1,
}


def _word_bytes(index: Any) -> Any:
    return ir.Constant(index.type, 8)


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def float_bits(typing_context: Any, value: Any) -> Any:
    """The 64 bits of a float64, as an unsigned integer."""
    signature = types.uint64(types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.uint64))

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def store_word(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a uint64 into an array of bytes at any index, in the machine's byte order."""
    signature = types.void(array, types.intp, types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        check_bounds(context, builder, signature.args[0], arguments[0], arguments[1], _word_bytes(arguments[1]))
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        builder.store(arguments[2], builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)
        return context.get_dummy_value()

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def load_word(typing_context: Any, array: Any, index: Any) -> Any:
    """Eight bytes of an array from any index on, as a uint64 in the machine's byte order."""
    signature = types.uint64(array, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        check_bounds(context, builder, signature.args[0], arguments[0], arguments[1], _word_bytes(arguments[1]))
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def lowest_bit(typing_context: Any, value: Any) -> Any:
    """Number of the lowest bit of a uint64 that is set; of 0 it is not defined."""
    signature = types.int64(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def highest_bit(typing_context: Any, value: Any) -> Any:
    """Number of the highest bit of a uint64 that is set; of 0 it is not defined."""
    signature = types.int64(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.sub(ir.Constant(ir.IntType(64), 63), zeros)

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def swap_bytes(typing_context: Any, value: Any) -> Any:
    """The eight bytes of a uint64 in the other order."""
    signature = types.uint64(types.uint64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bswap(arguments[0])

    return signature, generate


@intrinsic  # type: ignore[untyped-decorator]  # numba has no types
def copy_bytes(typing_context: Any, target: Any, at: Any, source: Any, start: Any, count: Any) -> Any:
    """Copy `count` bytes from one array of bytes into another; they must not overlap."""
    signature = types.void(target, types.intp, source, types.intp, types.intp)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        check_bounds(context, builder, signature.args[0], arguments[0], arguments[1], arguments[4])
        check_bounds(context, builder, signature.args[2], arguments[2], arguments[3], arguments[4])
        to = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        of = cgutils.create_struct_proxy(signature.args[2])(context, builder, arguments[2]).data
        to, of = builder.gep(to, [arguments[1]]), builder.gep(of, [arguments[3]])
        cgutils.raw_memcpy(builder, to, of, arguments[4], 1)
        return context.get_dummy_value()

    return signature, generate
