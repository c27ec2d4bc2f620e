"""The architecture's rules about imports, clocks, randomness and sockets, held by walking the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

from toolkit.venue import venues

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tickdeck", "toolkit", "recordings", "replay", "analysis")
#: The public face: it may see everything, and nothing sees it.
FACE = "tickdeck"
MAX_LINES = 600
#: Modules in one folder, its `__init__.py` apart, that can be looked over from their names.
MAX_MODULES = 20
#: Folders of venues are alike on purpose, and one of a venue with accounts holds more.
VENUES = ("toolkit/venues/", "replay/serving/venues/")

ARROWS = {
    "toolkit": {"toolkit"},
    "recordings": {"toolkit", "recordings"},
    "replay": {"toolkit", "recordings", "replay"},
    "analysis": {"toolkit", "recordings", "analysis"},
}
COMMAND_LINE = "toolkit.cli"

WALL_TIME = (
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.process_time",
    "time.process_time_ns",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "time.gmtime",
    "time.localtime",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
)
RANDOMNESS = ("random", "secrets", "numpy.random", "os.urandom", "uuid.uuid1", "uuid.uuid4")
SOCKETS = (
    "socket",
    "socketserver",
    "websockets",
    "aiohttp",
    "http.client",
    "http.server",
    "urllib.request",
    "asyncio.open_connection",
    "asyncio.open_unix_connection",
    "asyncio.start_server",
    "asyncio.start_unix_server",
)
DYNAMIC_IMPORTS = ("__import__", "importlib.import_module", "import_module")
UNPICKLERS = ("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve")
#: What is served, at places of a tape: bytes of this process, in no file.
IN_MEMORY = "replay.serving.tape_marks"


@dataclass(frozen=True)
class Source:
    """One module: its dotted name, and its text."""

    name: str
    is_package: bool
    text: str

    @cached_property
    def uses(self) -> tuple[tuple[str, int], ...]:
        """Every dotted name that the module imports or reads through an import, with its line."""
        return tuple(self._found())

    def _found(self) -> Iterator[tuple[str, int]]:
        tree = ast.parse(self.text)
        bound: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
                    top = alias.name.partition(".")[0]
                    bound[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                for alias in node.names:
                    yield f"{origin}.{alias.name}", node.lineno
                    bound[alias.asname or alias.name] = f"{origin}.{alias.name}"
            elif isinstance(node, ast.Call) and _dotted(node.func) in DYNAMIC_IMPORTS:
                yield from ((str(name.value), node.lineno) for name in node.args[:1] if isinstance(name, ast.Constant))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and (path := _dotted(node)):
                top, _, rest = path.partition(".")
                if top in bound:
                    yield f"{bound[top]}.{rest}", node.lineno

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return str(node.module)
        parents = self.name.split(".")[: None if self.is_package else -1]
        parents = parents[: len(parents) - node.level + 1]
        return ".".join([*parents, *([node.module] if node.module else [])])


def _dotted(node: ast.expr) -> str | None:
    """Spell `a.b.c`, or return None where it does not start at a plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := _dotted(node.value)):
        return f"{left}.{node.attr}"
    return None


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


@cache
def sources() -> list[Source]:
    """Read every module of the packages once, in the order of their names."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            found.append(Source(name, is_package, path.read_text(encoding="utf-8")))
    return found


def _modules() -> list[Path]:
    """List the files of the packages that are modules, and not the faces of folders."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in paths if path.name != "__init__.py"]


def violations_of_arrows(source: Source) -> list[str]:
    """List the imports that point the wrong way."""
    if _within(source.name, COMMAND_LINE) or _within(source.name, FACE):
        return []
    allowed = ARROWS[source.name.partition(".")[0]]
    return sorted(
        {
            f"{source.name}:{line} imports {name}"
            for name, line in source.uses
            if (_within(name, COMMAND_LINE) or name.partition(".")[0] in set(PACKAGES) - allowed)
        }
    )


def violations_of_place(source: Source, names: tuple[str, ...], place: str | None) -> list[str]:
    """List the uses of the names outside the one module or package that may use them."""
    if place and _within(source.name, place):
        return []
    return sorted(
        {
            f"{source.name}:{line} uses {name}"
            for name, line in source.uses
            if any(_within(name, forbidden) for forbidden in names)
        }
    )


def room_of(module: str, is_package: bool) -> str:
    """
    Name the room that a module is in: its folder.

    What stands at the top of a package, or of the command line, is a room by itself: a package's face is above its rooms
    and its vocabulary below them.
    """
    parent = module if is_package else module.rpartition(".")[0]
    return module if parent in {*PACKAGES, COMMAND_LINE} else parent


def arrows_between_rooms(modules: Sequence[Source]) -> dict[str, dict[str, str]]:
    """Find which room imports which other ones, each with one import that says so."""
    rooms = {source.name: room_of(source.name, source.is_package) for source in modules}
    arrows: dict[str, dict[str, str]] = {room: {} for room in rooms.values()}
    for source in modules:
        for name, line in source.uses:
            # `from a.b import c` may name a module or what is in one.
            target = name if name in rooms else name.rpartition(".")[0]
            if target in rooms and rooms[target] != rooms[source.name]:
                arrows[rooms[source.name]].setdefault(rooms[target], f"{source.name}:{line} imports {name}")
    return arrows


def circles_of_rooms(modules: Sequence[Source]) -> list[str]:
    """List the imports between rooms that can be reached from each other, as far as there are any."""
    arrows = arrows_between_rooms(modules)
    left = {room: set(targets) for room, targets in arrows.items()}
    # What imports nothing that is left is no part of a circle, and neither is what only imports such.
    while free := {room for room, targets in left.items() if not targets & left.keys()}:
        left = {room: targets for room, targets in left.items() if room not in free}
    while free := left.keys() - {target for targets in left.values() for target in targets}:
        left = {room: targets for room, targets in left.items() if room not in free}
    return sorted(said for room in left for target, said in arrows[room].items() if target in left)


def test_imports_point_one_way() -> None:
    """toolkit <- recordings <- replay, recordings <- analysis; only toolkit/cli looks up, and nothing looks at it."""
    assert [found for source in sources() for found in violations_of_arrows(source)] == []


def test_imports_between_rooms_point_one_way() -> None:
    """Whoever opens a room needs to know those below it, and no others."""
    assert circles_of_rooms(sources()) == []


def test_a_circle_between_rooms_is_found() -> None:
    """However long it is, and also where types alone or a function's body close it."""
    top = [Source("recordings", True, ""), Source("recordings.recorder", False, "from recordings.care import recovery")]
    low = Source("recordings.care.recovery", False, "from recordings.storage.lock import FolderLock")
    assert circles_of_rooms([*top, low, Source("recordings.storage.lock", False, "import recordings.care_of")]) == []
    for text in (
        "from recordings.care.recovery import recover",
        "def later():\n    from recordings.recorder import Recorder",
        "if TYPE_CHECKING:\n    from recordings.care import recovery",
    ):
        assert len(circles_of_rooms([*top, low, Source("recordings.storage.lock", False, text)])) >= 2


def test_no_room_holds_more_than_can_be_looked_over() -> None:
    """A folder that grows past the limit has become two."""
    rooms = Counter(path.parent.relative_to(ROOT).as_posix() for path in _modules())
    assert {
        room: count for room, count in rooms.items() if count > MAX_MODULES and not f"{room}/".startswith(VENUES)
    } == {}


def test_a_name_of_a_file_says_which_one_is_meant() -> None:
    """No name occurs in three rooms."""
    rooms: dict[str, list[str]] = {}
    for path in _modules():
        room = path.parent.relative_to(ROOT).as_posix()
        if not f"{room}/".startswith(VENUES) and path.name != "__main__.py":
            rooms.setdefault(path.name, []).append(room)
    assert {name: found for name, found in rooms.items() if len(found) > 2} == {}


def test_only_the_clock_reads_time() -> None:
    """Replayed code is given another clock, so nobody else may ask the machine."""
    assert [found for source in sources() for found in violations_of_place(source, WALL_TIME, "toolkit.clock")] == []


def test_randomness_is_seeded_in_one_place() -> None:
    """A random number without an owner cannot be replayed."""
    assert [found for source in sources() for found in violations_of_place(source, RANDOMNESS, "toolkit.rng")] == []


def test_only_the_transports_open_sockets() -> None:
    """Protocols, trackers and replay never see the network."""
    assert [found for source in sources() for found in violations_of_place(source, SOCKETS, "toolkit.transport")] == []


def test_nothing_is_unpickled() -> None:
    """Opening a recording never runs code from it; one module reads back what it wrote, into memory that it never leaves."""
    assert [found for source in sources() for found in violations_of_place(source, UNPICKLERS, IN_MEMORY)] == []


def test_matching_names_no_venue() -> None:
    """What venues differ in is a rule of the core, by name: it would fit a venue that nobody has heard of."""
    names = {part for name in venues() for part in re.split(r"[^a-z]", name) if len(part) > 3} - {"spot"}
    rooms = ("replay.market", "replay.backtest", "replay.ledger", "replay.clearing")
    text = {
        source.name: source.text.lower() for source in sources() if any(_within(source.name, room) for room in rooms)
    }
    assert len(text) > 10
    assert [(module, name) for module, words in text.items() for name in names if name in words] == []


def test_the_core_knows_no_recording_and_no_scheduler() -> None:
    """Events and requests are all that it is given."""
    core = [source for source in sources() if _within(source.name, "replay.market")]
    outside = [(source.name, name) for source in core for name, _ in source.uses if _within(name, "replay.backtest")]
    outside += [(source.name, name) for source in core for name, _ in source.uses if _within(name, "recordings")]
    assert outside == []


def test_no_module_is_longer_than_it_can_be_read() -> None:
    """A module that grows past the limit has become two."""
    lengths = {source.name: source.text.count("\n") for source in sources()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize("module", [*PACKAGES, "toolkit.cli.main"])
def test_importing_loads_neither_compiler_nor_plots(module: str) -> None:
    """Starting a command is quick: numba and altair are loaded by what needs them."""
    program = f"import sys, {module}; print(sorted({{'numba', 'llvmlite', 'altair', 'vl_convert'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_public_package_loads_no_other() -> None:
    """`import tickdeck` takes a few milliseconds: a public name is loaded when it is used."""
    names = "print(*sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names))"
    before, after = (
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for program in (f"import sys; {names}", f"import sys, tickdeck; {names}")
    )
    assert set(after.split()) - set(before.split()) == {"tickdeck"}


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("toolkit.book", "import recordings"),
        ("toolkit.book", "from recordings.reader import Reader"),
        ("toolkit.book", "def later():\n    from replay import ReplayDataSource"),
        ("toolkit.book", "import importlib\nimportlib.import_module('analysis.spreads')"),
        ("toolkit.book", "from .cli import main"),
        ("toolkit.book", "from toolkit import cli"),
        ("recordings.reader", "from tickdeck import scan"),
        ("recordings.reader", "import replay.clock as clock"),
        ("recordings.reader", "import analysis"),
        ("replay.source", "from analysis import spreads"),
        ("analysis.spreads", "from replay.source import ReplayDataSource"),
        ("replay.source", "from toolkit.cli.main import main"),
    ],
)
def test_an_import_that_points_the_wrong_way_is_found(module: str, text: str) -> None:
    """The rule about arrows fails when it is broken."""
    assert len(violations_of_arrows(Source(module, False, text))) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("toolkit.cli.main", "import replay, analysis, recordings"),
        ("replay.source", "from recordings import reader\nfrom toolkit.frames import Frame"),
        ("analysis.spreads", "from recordings import reader"),
        ("toolkit.venues.hyperliquid", "from .common import pair\nfrom ..frames import Frame"),
    ],
)
def test_an_import_that_points_the_right_way_is_allowed(module: str, text: str) -> None:
    """The rule about arrows leaves the permitted ones alone."""
    assert violations_of_arrows(Source(module, False, text)) == []


@pytest.mark.parametrize(
    ("names", "place", "text"),
    [
        (WALL_TIME, "toolkit.clock", "import time\ntime.time()"),
        (WALL_TIME, "toolkit.clock", "import time as t\nread = t.monotonic_ns"),
        (WALL_TIME, "toolkit.clock", "from time import perf_counter as tick"),
        (WALL_TIME, "toolkit.clock", "import datetime\ndatetime.datetime.now(datetime.UTC)"),
        (WALL_TIME, "toolkit.clock", "from datetime import datetime as dt, UTC\ndt.now(UTC)"),
        (WALL_TIME, "toolkit.clock", "from datetime import date\ndate.today()"),
        (RANDOMNESS, "toolkit.rng", "import random"),
        (RANDOMNESS, "toolkit.rng", "from secrets import token_hex"),
        (RANDOMNESS, "toolkit.rng", "import numpy as np\nnp.random.default_rng(1)"),
        (RANDOMNESS, "toolkit.rng", "import uuid\nuuid.uuid4()"),
        (SOCKETS, "toolkit.transport", "import socket"),
        (SOCKETS, "toolkit.transport", "from websockets.asyncio.client import connect"),
        (SOCKETS, "toolkit.transport", "def f():\n    import aiohttp"),
        (SOCKETS, "toolkit.transport", "import asyncio\nasyncio.open_connection('127.0.0.1', 1)"),
        (SOCKETS, "toolkit.transport", "from asyncio import start_server"),
        (UNPICKLERS, None, "import pickle"),
        (UNPICKLERS, None, "__import__('pickle')"),
    ],
)
def test_a_name_out_of_its_place_is_found(names: tuple[str, ...], place: str | None, text: str) -> None:
    """The rules about places fail when they are broken, and only outside the place."""
    assert violations_of_place(Source("recordings.reader", False, text), names, place)
    if place:
        assert violations_of_place(Source(place, False, text), names, place) == []


def test_time_types_and_conversions_are_allowed() -> None:
    """Only reading a clock is bound to its module: dates, durations and sleeping on a given clock are not."""
    text = "from datetime import UTC, datetime, timedelta\nimport asyncio\ndatetime.fromtimestamp(1, UTC)\nasyncio.timeout(1)"
    assert violations_of_place(Source("recordings.reader", False, text), WALL_TIME, "toolkit.clock") == []


def test_one_module_names_files_to_polars() -> None:
    """Polars takes a name for a pattern, and a folder called `date=1` for a column."""
    reads = re.compile(r"\bpl\.(scan|read)_\w+\(")
    paths = [path for package in (*PACKAGES, "examples") for path in (ROOT / package).rglob("*.py")]
    there = [path.relative_to(ROOT).as_posix() for path in paths if reads.search(path.read_text(encoding="utf-8"))]
    assert there == ["recordings/queries/lazy_tables.py"]
