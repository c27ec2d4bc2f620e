"""
What the documents say is true: commands run, programs run, links lead somewhere, the specification is the code's.

Commands run in a folder with two recordings of the embedded venue and the capture files that the pages name
(`tests/embedded_recording.py`). What is changed before a command runs:

- `tickdeck record hyperliquid` gets the URLs of the embedded venue, and of its accounts the one that trades; it lasts
  a second, and `tickdeck demo` two.
- `tickdeck paper` likewise, for a second, and before what compares it.
- `tickdeck record` of another venue, of several, or from a file of settings is parsed, not run.
- `tickdeck serve` ends with the tape, which runs at full speed; a synthetic market is stopped once it has said where it is.
- `tickdeck ctl`, and a program that names the server's usual place, find a server of the first recording.
- A command that several pages show runs once: each time it would find the same folder.
- `tickdeck` and programs run in this process, in a folder of their own, where what they load is loaded once; what needs a
  shell, or another interpreter, gets one. That the command works as a process is seen in `tests/toolkit/cli`.
- `make TARGET`: the target has to exist. `pip`, `git`, `python -m venv` and `systemctl` are left alone.

In a `console` block the lines that begin with `$` are commands, in a `sh` block all are. `python` blocks run as they are.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tomllib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import msgspec
import pytest

from recordings.format.manifest import InputFile, Manifest, Segment, SourceInfo, TableFile
from recordings.format.schema import ALL_TABLES, FORMAT_VERSION, TABLE_OF, TABLES
from recordings.recording import Recording
from replay.fast_classes.strategy_backtest import backtest
from replay.strategy.strategy import Strategy
from tests.embedded_recording import ROOT, embedded_venue, environment
from tests.toolkit.cli.terminal import run
from toolkit.books.tracker import OrderBookTracker
from toolkit.cli.commands.serve import DEFAULT_PORT
from toolkit.cli.main import COMMANDS, cli
from toolkit.digest import DigestChain
from toolkit.frames import FRAME_KINDS
from toolkit.messages import BestQuote, BookSnapshot, BookTop, EventKind, Side, Trade
from toolkit.venue import is_venue

FORMAT = ROOT / "recordings" / "FORMAT.md"
PAGES = sorted(
    [
        *(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")),
        FORMAT,
        *(ROOT / "docs").rglob("*.md"),
    ]
)
#: Where `tickdeck serve` listens by default.
SERVER = f"http://127.0.0.1:{DEFAULT_PORT}"
#: The session on paper that a comparison finds, of the strategy that it names.
PAPER = ("hyperliquid", "BTC-USD", "--out", "tapes/paper")
#: Exit statuses that are an answer, not a failure.
ANSWERS = {"gaps": {0, 3}}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(*languages: str) -> Iterator[Any]:
    """Fenced blocks of those languages, as parameters of a test."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            if found[1] in languages:
                line = text.count("\n", 0, found.start()) + 1
                yield pytest.param(page, found[2], id=f"{page.name}:{line}")


def commands(*languages: str) -> Iterator[Any]:
    """Every command line of `sh` and `console` blocks, where it is first shown."""
    seen = set()
    for parameter in blocks(*languages):
        page, text = parameter.values
        prompted = any(line.startswith("$ ") for line in text.splitlines())
        for number, line in enumerate(text.replace("\\\n", " ").splitlines()):
            if prompted and not line.startswith("$ "):
                continue
            command = line.removeprefix("$ ").strip()
            if command and not command.startswith("#") and command not in seen:
                seen.add(command)
                yield pytest.param(page, command, id=f"{parameter.id}+{number}")


@pytest.fixture
def workspace(workspace_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands find: a copy for one test, in which it runs."""
    folder = Path(shutil.copytree(workspace_template, tmp_path / "here"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def venue_urls() -> Iterator[dict[str, Any]]:
    """The embedded venue, for commands that record."""
    with embedded_venue() as urls:
        yield urls


@pytest.fixture(scope="module")
def server(workspace_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of the first recording, for every command and program that asks one."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(workspace_template / "tapes" / "monday", folder / "tapes" / "monday")
    with started(["tickdeck", "serve", "tapes/monday", "--port", "0", "--paused", "--json"], folder) as facts:
        yield facts["url"]


@pytest.fixture
def served(server: str) -> str:
    """The same, which stands at the beginning of its tape."""
    for words in (("pause",), ("seek", "-1d")):
        assert run("ctl", "--url", server, *words).exit_code == 0
    return server


# -- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "command"), [*commands("sh", "console")])
def test_a_command_runs(page: Path, command: str, workspace: Path, request: pytest.FixtureRequest) -> None:
    """It ends with 0, or with an exit status that is an answer."""
    words = shlex.split(command, comments=True)
    if words[0] == "make":
        targets = [word for word in words[1:] if "=" not in word]
        known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert [target for target in targets if target not in known] == []
        return
    if words[0] in ("pip", "git", "systemctl", "sudo") or words[:3] == ["python", "-m", "venv"]:
        return
    if words[:2] == ["tickdeck", "record"] and [word for word in words[2:] if is_venue(word)] != ["hyperliquid"]:
        parse(words[1:])
        return
    if words[0] == ".ci/run":
        assert (ROOT / ".ci" / "run").is_file()
        return
    if words[:2] == ["tickdeck", "record"]:
        venue_urls = request.getfixturevalue("venue_urls")
        words = [*changed(words, "--duration", "1s"), "--ws-url", venue_urls["ws_url"]]
        words += ["--rest-url", venue_urls["rest_url"]]
        if "--user" in words:
            words = changed(words, "--user", venue_urls["accounts"]["taker"])
        for name in ("monday", "mine"):
            if f"tapes/{name}" in words:
                # It was recorded from another port, which is another source.
                shutil.rmtree(workspace / "tapes" / name)
        command = shlex.join(words)
    elif words[:2] == ["tickdeck", "paper"]:
        command = shlex.join(on_paper(words, request))
    elif words[:2] == ["tickdeck", "backtest"] and "--compare" in words:
        run_in(workspace, shlex.join(on_paper(["tickdeck", "paper", words[2], *PAPER], request)))
    elif words[:2] == ["tickdeck", "backtest"] and "results/maker" in words:
        shutil.rmtree(workspace / "results")
    elif words[:2] == ["tickdeck", "demo"]:
        shutil.rmtree(workspace / "tapes" / "demo")
        command = shlex.join(changed(words, "--duration", "2s"))
    elif words[:2] == ["tickdeck", "serve"]:
        serve(words, workspace)
        return
    elif words[:2] == ["tickdeck", "ctl"]:
        command = shlex.join(["tickdeck", "ctl", "--url", request.getfixturevalue("served"), *words[2:]])
    run_in(workspace, command, ANSWERS.get(words[1] if len(words) > 1 else "", {0}))


def run_in(workspace: Path, command: str, expected: Collection[int] = (0,)) -> None:
    """Run a command there: in this process if it is ours and needs no shell."""
    words = shlex.split(command, comments=True)
    if words[0] == "tickdeck" and "|" not in words:
        answer = run(*words[1:])
        assert answer.exit_code in expected, f"{command}\n{answer.stdout}\n{answer.stderr}"
        return
    done = subprocess.run(
        command, shell=True, cwd=workspace, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode in expected, f"{command}\n{done.stdout}\n{done.stderr}"


def on_paper(words: list[str], request: pytest.FixtureRequest) -> list[str]:
    """A paper session of a second on the embedded venue."""
    urls = request.getfixturevalue("venue_urls")
    return [*changed(words, "--duration", "3s"), "--ws-url", urls["ws_url"], "--rest-url", urls["rest_url"]]


def serve(words: list[str], workspace: Path) -> None:
    """Run a command that would serve for ever."""
    if "--synthetic" in words:
        with started([*words, "--port", "0", "--json"], workspace) as facts:
            assert facts["venues"]
        return
    extra = [word for word in ("--no-wait", "--exit") if word not in words]
    kept = [word for word in words if word != "--loop"]
    run_in(workspace, shlex.join([*changed(kept, "--speed", "max"), *extra, "--port", "0"]))


@contextmanager
def started(words: list[str], workspace: Path) -> Iterator[dict[str, Any]]:
    """A server at work, and the line of JSON in which it says where it is."""
    command = [sys.executable, "-m", "toolkit.cli", *words[1:]]
    with subprocess.Popen(command, cwd=workspace, env=environment(), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def changed(words: list[str], option: str, value: str) -> list[str]:
    """The command with that value of an option."""
    if option in words:
        at = words.index(option)
        return [*words[: at + 1], value, *words[at + 2 :]]
    return [*words, option, value]


def parse(words: list[str]) -> None:
    """See that the command line is understood, without running it."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]}"
        command, words = found, words[1:]
    command.make_context("docs", list(words))


def test_a_command_that_does_not_exist_is_found() -> None:
    """The parsing of commands that are not run tells right from wrong."""
    parse(["record", "binance-usdm", "BTC-USDT", "--duration", "10s"])
    with pytest.raises((AssertionError, click.UsageError)):
        parse(["record", "binance-usdm", "BTC-USDT", "--no-such-option"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name: str) -> None:
    """A command that no page shows is not found by anyone."""
    assert any(f"tickdeck {name}" in page.read_text(encoding="utf-8") for page in PAGES)


# -- programs and data ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "program"), [*blocks("python", "py")])
def test_a_program_runs(
    page: Path,
    program: str,
    workspace: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It prints something, and ends without a word on stderr; a warning is an error."""
    if SERVER in program:
        program = program.replace(SERVER, request.getfixturevalue("served"))
    code = ast.parse(program)
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(code, f"program of {page.name}", "exec"), vars(module))  # noqa: S102  # that is the test
    if any(isinstance(value, type) and issubclass(value, Strategy) for value in vars(module).values()):
        # A strategy does something when it is run.
        (workspace / "shown.py").write_text(program)
        backtest(workspace / "shown.py", workspace / "tapes" / "demo", trading_pairs="BTC-USD")
        print("it ran")  # noqa: T201
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out


@pytest.mark.parametrize(("page", "text"), [*blocks("toml", "json")])
def test_data_can_be_read(page: Path, text: str) -> None:
    """Settings and examples have the syntax that they claim."""
    for line in text.splitlines() if text.startswith('{"message"') else [text]:
        (json.loads if line.startswith(("{", "[{")) else tomllib.loads)(line)


# -- pages ----------------------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def without_fences(page: Path) -> str:
    """The prose of a page."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A file of ours is there, and so is the heading in it."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", without_fences(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in map(slug, headings(file))):
            broken.append(target)
    assert broken == []


def headings(page: Path) -> list[str]:
    """The headings of a page."""
    return re.findall(r"^#+ (.+)$", without_fences(page), re.MULTILINE)


#: Where this checkout lies, unless in a folder that every system has.
HERE = "" if ROOT.parts[1] in ("etc", "usr", "var") else f"/{re.escape(ROOT.parts[1])}/|"
#: Paths of somebody's machine, places that only some networks have, what was left to be done, and praise.
UNWANTED = re.compile(
    HERE + r"/home/|/Users/|/root/|/opt/|/tmp/|C:\\|pythonhosted|index-url|find-links"
    r"|\bTODO\b|\bFIXME\b|\bTBD\b|\blorem\b"
    r"|blazing|lightning|seamless|effortless|cutting.edge|world.class|state.of.the.art|battle.tested|\bsimply\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_speaks_of_the_project_alone(page: Path) -> None:
    """No machine, no network, no leftovers, no praise."""
    assert UNWANTED.findall(page.read_text(encoding="utf-8")) == []


def test_every_page_can_be_reached() -> None:
    """From the README, by links."""
    reached = {ROOT / "README.md"}
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        for target in re.findall(r"\]\(([^)#\s]+\.md)[)#]", without_fences(page)):
            file = (page.parent / target).resolve()
            if file.is_file() and file not in reached:
                reached.add(file)
                waiting.append(file)
    assert [page.name for page in PAGES if page not in reached] == []


# -- the specification ----------------------------------------------------------------------------------------------


def rows(title: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    text = FORMAT.read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading {title!r}"
    table = re.search(r"(?:^\|.*\|\n)+", found[1], re.MULTILINE)
    assert table is not None, f"no table below {title!r}"
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()]
    return lines[2:]


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def columns(table: str) -> dict[str, tuple[str, str]]:
    """Columns of a table as the page has them: type and meaning of null."""
    own = rows("`raw`: the frames") if table == "raw" else rows(f"`{table}`")
    shared = [] if table == "raw" else rows("Columns of every normalized table")
    return {words(name)[0]: (words(kind)[0], null) for name, kind, null, _ in [*shared, *own]}


@pytest.mark.parametrize("table", ALL_TABLES)
def test_the_page_has_the_columns_of_the_schema(table: str) -> None:
    """Same names, same order, same types."""
    written = [(name, kind) for name, (kind, _) in columns(table).items()]
    assert written == [(field.name, str(field.type)) for field in ALL_TABLES[table]]


@pytest.mark.parametrize("table", TABLES)
def test_a_column_that_is_never_null_is_not(table: str, workspace_template: Path) -> None:
    """In a recording of the embedded venue, that is."""
    frame = Recording.open(workspace_template / "tapes" / "monday")
    for path in frame.files(table):
        nulls = null_counts(path)
        assert [name for name, (_, null) in columns(table).items() if null == "never" and nulls[name]] == []


def null_counts(path: Path) -> dict[str, int]:
    """Nulls by column, read without our reader."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table.column(name).null_count for name in table.schema.names}


def test_the_page_is_of_this_format_version() -> None:
    """Version and kinds are those of the code."""
    assert f"specifies format version {FORMAT_VERSION}." in FORMAT.read_text(encoding="utf-8")
    kinds = [words(cells[0])[0] for cells in rows("`raw`: the frames")]
    assert kinds == TABLES["raw"].names
    text = FORMAT.read_text(encoding="utf-8")
    assert [kind for kind in FRAME_KINDS if f"| `{kind}` |" not in text] == []


def test_every_kind_of_event_is_explained() -> None:
    """Neither more nor fewer than the code has."""
    assert {words(cells[0])[0] for cells in rows("Kinds of events")} == {kind.value for kind in EventKind}


def test_every_control_event_of_a_session_is_explained(workspace_template: Path) -> None:
    """With exactly the keys that it has."""
    allowed = {words(cells[0])[0]: set(words(cells[1])) for cells in rows("Control frames")}
    seen = set()
    for batch in Recording.open(workspace_template / "tapes" / "monday").raw_frames():
        for frame in batch:
            if frame.kind == "control":
                details = msgspec.json.decode(frame.payload)
                event = details.pop("event")
                seen.add(event)
                assert set(details) <= allowed[event]
    assert seen >= {"session_start", "connected", "disconnected", "session_end"}


def test_every_field_of_the_manifest_is_explained() -> None:
    """Of the manifest, its sources, segments and files."""
    text = FORMAT.read_text(encoding="utf-8")
    section = text[text.index("## The manifest") : text.index("## The journal")]
    structs = (Manifest, SourceInfo, Segment, TableFile, InputFile)
    fields = {field.name for struct in structs for field in msgspec.structs.fields(struct)}
    written = fields - {"migrated_from"} | {"checksum"}
    assert [name for name in sorted(written) if f"`{name}`" not in section] == []


def all_fields() -> dict[str, list[str]]:
    """Fields of each message behind the first seven, as the page lists them."""
    written = {}
    for cells in rows("The digest"):
        listed = re.findall(r"`(\w+)`(\*?)", cells[1])
        written.update({name: [field + star for field, star in listed] for name in words(cells[0])})
    return written


def test_the_fields_of_every_message_are_listed() -> None:
    """In the order of their canonical bytes, with a star where a default is left out."""
    expected = {
        message.__name__: [
            field.name + ("*" if not field.required and field.default_factory is msgspec.NODEFAULT else "")
            for field in msgspec.structs.fields(message)[7:]
        ]
        for message in TABLE_OF
        if message is not BookTop
    }
    assert all_fields() == expected


# -- the digest, by hand --------------------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    """MessagePack as the specification describes it, with nothing but the standard library."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return packed_int(value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return (bytes((0xA0 | len(text),)) if len(text) < 32 else b"\xd9" + bytes((len(text),))) + text
        case list():
            assert len(value) < 16
            return bytes((0x90 | len(value),)) + b"".join(map(packed, value))
        case dict():
            is_short = len(all_fields()[value["message"]]) + 8 < 16
            head = bytes((0x80 | len(value),)) if is_short else b"\xde" + struct.pack(">H", len(value))
            return head + b"".join(packed(key) + packed(item) for key, item in value.items())
        case _:
            raise AssertionError(f"not in the example: {value!r}")


def packed_int(value: int) -> bytes:
    """The shortest form of an integer that is not negative."""
    if value < 128:
        return bytes((value,))
    for head, form, limit in ((b"\xcc", ">B", 1 << 8), (b"\xcd", ">H", 1 << 16), (b"\xce", ">I", 1 << 32)):
        if value < limit:
            return head + struct.pack(form, value)
    return b"\xcf" + struct.pack(">Q", value)


def example() -> list[dict[str, Any]]:
    """The messages of the worked example."""
    text = FORMAT.read_text(encoding="utf-8")
    block = FENCE.search(text, text.index("### A worked example"))
    assert block is not None
    return [json.loads(line) for line in block[2].splitlines()]


def test_the_worked_example_can_be_recomputed_by_hand() -> None:
    """Book bytes and states of the page follow from its messages, by hashlib, struct and a few lines of MessagePack."""
    snapshot, trade, quote = example()
    bids = list(zip(snapshot["bid_prices"], snapshot["bid_sizes"], strict=True))
    asks = list(zip(snapshot["ask_prices"], snapshot["ask_sizes"], strict=True))
    whole = packed([[list(column) for column in zip(*side, strict=True)] for side in (bids, asks)])
    book_0 = struct.pack("<cddddIIB", b"B", *bids[0], *asks[0], len(bids), len(asks), 0) + whole
    bids = [(quote["bid_price"], quote["bid_size"]), *bids]
    asks = [(quote["ask_price"], quote["ask_size"])]
    book_2 = struct.pack("<cddddIIB", b"B", *bids[0], *asks[0], len(bids), len(asks), 0)
    states, state = [], bytes(16)
    for content in (packed(snapshot) + book_0, packed(trade), packed(quote) + book_2):
        state = hashlib.blake2b(state + content, digest_size=16).digest()
        states.append(state.hex())
    written = rows("A worked example")
    assert [words(cells[3])[0] for cells in written] == states
    assert [words(cells[2]) for cells in written] == [[book_0.hex()], [], [book_2.hex()]]
    assert f"`{packed(trade).hex()}`" in FORMAT.read_text(encoding="utf-8")


def test_the_worked_example_is_what_the_code_does() -> None:
    """The same messages through our own chain and books give the states of the page."""
    kinds = {"BookSnapshot": BookSnapshot, "Trade": Trade, "BestQuote": BestQuote}
    tracker, chain, states = OrderBookTracker(checked=True), DigestChain(), []
    for fields in example():
        kind = kinds[fields["message"]]
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        if "aggressor_side" in values:
            values["aggressor_side"] = Side(values["aggressor_side"])
        del values["message"]
        message = functools.partial(kind, **values)()
        chain.update(message, tracker.apply(message))
        states.append(chain.hexdigest())
    assert states == [words(cells[3])[0] for cells in rows("A worked example")]
