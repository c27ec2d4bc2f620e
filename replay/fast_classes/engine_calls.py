"""What stands between the engine and a class: the function of Python that it calls, and the context that the class is given."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from numba.core import types

from replay.fast.compiled_step import signature_of
from replay.fast.engine_layout import Engine
from replay.fast_classes.engine_book import EngineBook
from replay.strategy.context import Context
from replay.strategy.desk import Desk
from replay.strategy.session import TradingSession
from replay.strategy.views import BookView
from toolkit.keys import PairName

if TYPE_CHECKING:
    from replay.fast_classes.class_run import ClassRun

__all__ = ["EngineContext", "Pointer"]

#: The engine hands over what it calls a step function with; of that Python takes the first three. What follows them is the
#: caller's own, in registers and on its stack, on every platform that numba compiles for.
_CALLED: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Pointer(types.WrapperAddressProtocol):
    """A function of Python where the engine takes a compiled one."""

    def __init__(self, function: Callable[[int, int, int], int], engine: Engine) -> None:
        self._function = function
        self._call = _CALLED(function)
        self._signature = signature_of(engine)

    def __call__(self, now: int, why: int, pair: int, *more: Any) -> int:
        """As the engine calls it where it runs as plain Python."""
        return self._function(int(now), int(why), int(pair))

    def __wrapper_address__(self) -> int:
        return ctypes.cast(self._call, ctypes.c_void_p).value or 0

    def signature(self) -> Any:
        return self._signature


class EngineContext(Context):
    """What a strategy is given: before its desk is asked, it has heard all that the engine told until then."""

    __slots__ = ("_run", "_session_desk", "_shown")

    def __init__(self, run: ClassRun, session: TradingSession) -> None:
        self._run = run
        self._session = session
        self._session_desk = session.desk
        self._shown: dict[PairName, EngineBook] = {}
        self._pairs = session.context.pairs
        self._rng = session.context.rng

    def book(self, pair: PairName) -> BookView:
        """As `Context.book`."""
        try:
            return self._shown[pair]
        except (KeyError, TypeError):
            self._run.hear_of_books()
            book = self._session.book(pair)
            if isinstance(book, EngineBook):
                self._shown[pair] = book
            return book

    def set_timer(
        self, name: str, *, at_ns: int | None = None, after: str | None = None, every: str | None = None
    ) -> None:
        """As `Context.set_timer`."""
        self._run.leave_walk()
        super().set_timer(name, at_ns=at_ns, after=after, every=every)

    def cancel_timer(self, name: str) -> bool:
        """As `Context.cancel_timer`."""
        self._run.leave_walk()
        return super().cancel_timer(name)

    @property
    def _desk(self) -> Desk:  # type: ignore[override]
        self._run.catch_up()
        return self._session_desk


# As for a book: what a mistake is reported with is the same in a plain session.
EngineContext.__name__ = EngineContext.__qualname__ = Context.__name__
