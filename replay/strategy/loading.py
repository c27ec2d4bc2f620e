"""
A strategy out of its file: loaded, and looked through for what would make it differ between live and replay.

What reads the machine's clock, draws random numbers that were not seeded, or waits, is refused with its line: the same is
there in logical form, as `ctx.now_ns`, `ctx.rng` and `ctx.set_timer`.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, runtime_checkable

from replay.strategy.failures import StrategyError, described
from replay.strategy.strategy import HOOKS, Strategy
from toolkit.borders import printable
from toolkit.errors import ConfigError

__all__ = ["LoadedStrategy", "Runnable", "load_strategy"]

_NOW: Final = "use ctx.now_ns"
_DRAW: Final = "use ctx.rng, which is seeded"
_WAIT: Final = "use ctx.set_timer"
#: Names by their modules, and what to use instead.
_REFUSED: Final = {
    **dict.fromkeys(
        (
            f"time.{name}"
            for name in (
                "time",
                "time_ns",
                "monotonic",
                "monotonic_ns",
                "perf_counter",
                "perf_counter_ns",
                "process_time",
                "process_time_ns",
                "thread_time",
                "thread_time_ns",
                "clock_gettime",
                "clock_gettime_ns",
                "localtime",
                "gmtime",
                "ctime",
            )
        ),
        _NOW,
    ),
    "datetime.datetime.now": _NOW,
    "datetime.datetime.utcnow": _NOW,
    "datetime.datetime.today": _NOW,
    "datetime.date.today": _NOW,
    "pandas.Timestamp.now": _NOW,
    "pandas.Timestamp.utcnow": _NOW,
    "pandas.Timestamp.today": _NOW,
    "toolkit.clock.SystemClock": _NOW,
    "toolkit.clock.perf_ns": _NOW,
    "time.sleep": _WAIT,
    "asyncio.sleep": _WAIT,
    "secrets": _DRAW,
    "numpy.random": _DRAW,
    "os.urandom": _DRAW,
    "os.getrandom": _DRAW,
    "random.SystemRandom": _DRAW,
    "uuid.uuid1": _DRAW,
    "uuid.uuid4": _DRAW,
}
#: Functions of the module that share one generator, which has no owner.
_OF_RANDOM: Final = frozenset(
    [
        "betavariate",
        "choice",
        "choices",
        "expovariate",
        "gammavariate",
        "gauss",
        "getrandbits",
        "lognormvariate",
        "normalvariate",
        "paretovariate",
        "randbytes",
        "randint",
        "random",
        "randrange",
        "sample",
        "seed",
        "setstate",
        "shuffle",
        "triangular",
        "uniform",
        "vonmisesvariate",
        "weibullvariate",
    ]
)
_NOW_WORDS: Final = frozenset({"now", "today"})


@dataclass(frozen=True, slots=True)
class LoadedStrategy:
    """
    A strategy class, and where it is from.

    Attributes:
        cls: The class.
        path: Its file; None where there is none.
        source_hash: BLAKE2b-128 over the source: of a file with all modules of its folder that it imports.
        files: The strategy's own files, as tracebacks name them.
        folder: Folder that paths of its own data are relative to.
    """

    cls: type[Strategy]
    path: Path | None
    source_hash: str
    files: frozenset[str] = field(default_factory=frozenset)
    folder: Path = field(default_factory=Path)


@runtime_checkable
class Runnable(Protocol):
    """What is run in a way of its own, such as a step function, and is a strategy besides."""

    def loaded(self) -> LoadedStrategy:
        """The same as a strategy."""

    def run(self, plan: Any, tape: Any, *, start_ns: int | None, end_ns: int | None, carry: Any) -> Any:
        """Run it on a tape; the record of the run."""


def load_strategy(given: Any) -> LoadedStrategy:
    """
    Take a strategy from a file that has one, or a class as it is.

    Raises:
        ConfigError: There is no such file, or it is no class of a strategy.
        StrategyError: It cannot be used; the message names file and line.
    """
    if isinstance(given, str | Path):
        return _from_file(Path(given))
    if isinstance(given, Runnable):
        return given.loaded()
    if not (isinstance(given, type) and issubclass(given, Strategy)) or given is Strategy:
        raise ConfigError(f"{given!r} is no strategy, expected a class derived from Strategy, or the file of one")
    return _from_class(given)


def _from_file(path: Path) -> LoadedStrategy:
    try:
        source = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"strategy {path} cannot be read: {exc.strerror or exc}") from None
    _check_source(source, path)
    before = set(sys.modules)
    folder = path.resolve().parent
    module = _run(path, folder)
    # What it imports from its own folder is as much a part of it.
    helpers = {}
    for name in sorted(sys.modules):
        if name in before or name == module.__name__:
            continue
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).suffix == ".py" and Path(file).resolve().is_relative_to(folder):
            if "site-packages" in Path(file).parts:
                continue
            helpers[Path(file)] = Path(file).read_bytes()
    for helper, text in helpers.items():
        _check_source(text, helper)
    cls = _only_strategy(module, path)
    digest = blake2b(source, digest_size=16)
    for helper in sorted(helpers):
        digest.update(helper.name.encode() + b"\0" + helpers[helper])
    files = frozenset({str(path), str(path.resolve()), *map(str, helpers)})
    return LoadedStrategy(cls, path, digest.hexdigest(), files, folder)


def _run(path: Path, folder: Path) -> ModuleType:
    name = f"strategy_{blake2b(str(path.resolve()).encode(), digest_size=8).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"strategy {path} is no Python file, expected one whose name ends in .py")
    module = importlib.util.module_from_spec(spec)
    # Annotations are looked up in it; and it may import what stands beside it.
    sys.modules[name] = module
    sys.path.insert(0, str(folder))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as exc:  # noqa: BLE001  # whatever a file raises is its own failure
        del sys.modules[name]
        raise described(exc, frozenset({str(path), spec.origin or ""}), "while it was loaded") from None
    finally:
        sys.path.remove(str(folder))
    return module


def _only_strategy(module: ModuleType, path: Path) -> type[Strategy]:
    """The one class of a strategy in a file, or the one function that is run in a way of its own, as a class."""
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    ]
    # One that others build upon is not meant.
    leaves = [cls for cls in own if not any(other is not cls and issubclass(other, cls) for other in own)]
    functions = [
        value
        for value in vars(module).values()
        if isinstance(value, Runnable) and not isinstance(value, type) and value.__module__ == module.__name__
    ]
    if len(leaves) + len(functions) != 1:
        there = ", ".join([cls.__name__ for cls in leaves] + [each.loaded().cls.__name__ for each in functions])
        raise ConfigError(
            f"{path} has {len(leaves) + len(functions)} strategies ({there or 'none'}), expected one class derived from"
            " Strategy, or one step function"
        )
    if functions:
        return functions[0].loaded().cls
    _check_class(leaves[0], str(path))
    return leaves[0]


def _from_class(cls: type[Strategy]) -> LoadedStrategy:
    try:
        text = "".join(inspect.getsource(base) for base in cls.__mro__ if base not in (Strategy, object))
        path = Path(inspect.getsourcefile(cls) or "")
        whole = path.read_bytes()
    except (OSError, TypeError):
        _check_class(cls, cls.__module__)
        return LoadedStrategy(cls, None, "")
    names = {base.__name__ for base in cls.__mro__ if base not in (Strategy, object)}
    _check_source(whole, path, names)
    _check_class(cls, str(path))
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    return LoadedStrategy(cls, path, digest, frozenset({str(path)}), path.resolve().parent)


# -- what is refused -----------------------------------------------------------------------------------------------


def _check_source(source: bytes, path: Path, classes: set[str] | None = None) -> None:
    """Refuse source that is no Python or reads a clock; of these classes alone, if they are given."""
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError) as exc:
        line = getattr(exc, "lineno", None) or 0
        said = getattr(exc, "msg", None) or str(exc)
        text = (getattr(exc, "text", None) or "").strip()
        raise StrategyError(
            f"syntax error: {said}{f' in `{printable(text)}`' if text else ''}", str(path), line
        ) from None
    bound = dict(_imports(tree))
    parts: list[ast.AST] = [tree]
    if classes is not None:
        parts = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name in classes]
    for part in parts:
        for name, line in _uses(part, bound):
            if (instead := _instead(name)) is not None:
                raise StrategyError(
                    f"{name} is not what a strategy may use: live and replayed it would differ; {instead}",
                    str(path),
                    line,
                )


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What each imported name stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or top, alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _uses(tree: ast.AST, bound: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Every dotted name that is read through an import, with its line; the import itself where it names a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (path := _dotted(node)):
            top, _, rest = path.partition(".")
            if top in bound:
                yield f"{bound[top]}.{rest}", node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in bound:
            yield bound[node.id], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno
        elif isinstance(node, ast.Call):
            yield from _hidden(node, bound)


def _hidden(node: ast.Call, bound: dict[str, str]) -> Iterator[tuple[str, int]]:
    """`getattr(time, "time")`, `np.datetime64("now")` and `__import__("time")`, which are the same by other means."""
    called = _dotted(node.func) or ""
    words = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if called == "getattr" and len(node.args) > 1 and words and (inner := _dotted(node.args[0])):
        top, _, rest = inner.partition(".")
        if top in bound:
            yield ".".join(filter(None, (bound[top], rest, words[0]))), node.lineno
    is_import = called in ("__import__", "importlib.import_module", "import_module")
    if is_import and words and words[0] in ("time", "secrets", "random"):
        yield f"{words[0]}.{'time' if words[0] == 'time' else 'random'}", node.lineno
    top = called.partition(".")[0]
    if bound.get(top) in ("numpy", "pandas") and words and words[0] in _NOW_WORDS:
        yield "datetime.datetime.now", node.lineno


def _instead(name: str) -> str | None:
    """What to use in place of a name; None where the name may be used."""
    module, _, rest = name.partition(".")
    if module == "random" and rest in _OF_RANDOM:
        return _DRAW
    for refused, instead in _REFUSED.items():
        if name == refused or name.startswith(f"{refused}."):
            return instead
    return None


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := _dotted(node.value)):
        return f"{left}.{node.attr}"
    return None


def _check_class(cls: type[Strategy], path: str) -> None:
    """Refuse callbacks that are asynchronous, misspelled or not declared, and declarations without a callback."""
    hooks = [name for name in vars(Strategy) if name.startswith("on_")]
    for base in cls.__mro__:
        if base in (Strategy, object):
            continue
        for name, value in vars(base).items():
            if not name.startswith("on_") or not callable(value):
                continue
            line = getattr(getattr(value, "__code__", None), "co_firstlineno", 0)
            if inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
                raise StrategyError(
                    f"{name} is async: what goes on after an await depends on the event loop; write `def {name}`",
                    path,
                    line,
                )
            if inspect.isgeneratorfunction(value):
                raise StrategyError(f"{name} yields, so calling it does nothing; expected a plain function", path, line)
            if name not in hooks:
                raise StrategyError(f"{name} is called by nothing, expected one of {', '.join(hooks)}", path, line)
            if name in HOOKS and not getattr(cls.wakes, HOOKS[name]):
                raise StrategyError(
                    f"{name} is never called, since wakes does not declare it: say wakes = Wakes({HOOKS[name]}=True)",
                    path,
                    line,
                )
    for name, field_name in HOOKS.items():
        if getattr(cls.wakes, field_name) and getattr(cls, name) is getattr(Strategy, name):
            raise StrategyError(
                f"{cls.__name__} declares Wakes({field_name}=True) and has no {name} that is called",
                path,
                _line_of(cls),
            )
    if cls.wakes.every is not None and cls.on_timer is Strategy.on_timer:
        raise StrategyError(
            f"{cls.__name__} declares Wakes(every={cls.wakes.every!r}) and has no on_timer that is called",
            path,
            _line_of(cls),
        )


def _line_of(cls: type) -> int:
    try:
        return inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return 0
