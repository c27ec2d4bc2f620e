r"""
What comes from outside against every place where it is shown, run or obeyed.

Kinds of harm by places; each cell has a test here, or the reason why it has none. The names are those of coins, pairs,
orders, states, reasons and folders; they are in a recording before anything else happens, as a venue would have sent them.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pytest

from analysis.spread_plots import PANELS_MAX
from recordings.format.manifest import read_manifest, write_manifest
from tests.analysis.tapes import make_recording
from tests.tapes import TS, collector_line, import_files, trade
from tests.toolkit.cli.terminal import run, spawn
from toolkit import cli
from toolkit.borders import LABEL_MAX, LINE_MAX, label, metric_label, one_line, printable, spreadsheet_text, sql_name
from toolkit.borders import sql_text as text_in_sql
from toolkit.cli.output.results import Output
from toolkit.cli.output.status_line import StatusLine

B: Final = 1_700_000_000_000_000_000
S: Final = 10**9

#: What a name may try, by kind.
KINDS: Final[dict[str, list[str]]] = {
    "run": [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        '=HYPERLINK("http://a.b","c")',
        "+1+cmd|' /C calc'!A0",
        "@SUM(1,1)",
        "-2+3",
        "\t=1+1",
        "'; DROP VIEW trades; --",
        '"; SELECT 1; --',
        "datum.x'+alert(1)+'",
        "$(touch x)`touch x`",
    ],
    "move": [
        "\x1b[31mRED\x1b[0m",
        "\x9b31mRED",
        "\x1b]0;title\x07",
        "up\x1b[1A\x1b[2K",
        "a\rb",
        "a\x08b",
        "\u202egnp.exe",
        "\u2066x\u2069",
        "a\x00b",
        "\x7f",
        "\ufffe",
        "\U000e0041",
        "\u05d0\u05d1\u05d2 1 2 3",
        "\u0645 100",
    ],
    "forge": [
        "BTC\n2026-01-01T00:00:00.000Z all is well",
        "BTC\r\nError: forged",
        "BTC\u2028Error: forged",
        "BTC\u2029x",
        "BTC\x85Error: forged",
        "BTC\x0bx",
    ],
    "grow": ["LONG" * 3000, "\x1b" * 3000, "😀" * 2000],
}
NAMES: Final = [name for names in KINDS.values() for name in names]
TWO_OF_EACH: Final = [name for names in KINDS.values() for name in names[:2]]

#: Why a cell has no test.
NONE: Final[dict[tuple[str, str], str]] = {
    ("run", "terminal"): "a terminal runs nothing; what it obeys is `move`",
    ("run", "log"): "a log runs nothing; what its reader's terminal obeys is `move`",
    ("run", "png"): "a picture of pixels runs nothing",
    ("run", "json"): "JSON in a file is not run; in a page it is the column html",
    ("grow", "terminal"): "what was asked for is shown whole, however long",
    ("grow", "csv"): "exact, so as long as it came; rows are streamed",
    ("grow", "json"): "exact, so as long as it came; rows are streamed",
    ("grow", "sql"): "exact, so as long as it came; a query spills to disk",
}


class Work(NamedTuple):
    """A recording full of such names, what the commands printed of it, and of one with harmless names of the same number."""

    folder: Path
    shown: dict[str, str]
    harmless: dict[str, str]


def rows_of(names: list[str]) -> dict[str, list[dict[str, Any]]]:
    def at(number: int, **more: Any) -> dict[str, Any]:
        return {"capture_seq": number, "ts_recv": B + number * S, "ts_event": B + number * S} | more

    top, trades, events, fills, orders, instruments = [], [], [], [], [], []
    for number, name in enumerate(names):
        key = {"symbol": name, "trading_pair": name}
        top += [at(number * 4 + step, **key, bid_price=100.0 + step, ask_price=101.0 + step) for step in range(2)]
        trades.append(at(number * 4, **key, trade_id=name))
        kind = "gap" if number % 2 else "notice"
        events.append(at(number * 4 + 1, **key, kind=kind, stream=name, cause=name, detail=name, sub_seq=1))
        size = 1.0 + number
        fills.append(at(number * 4 + 2, **key, order_id=name, fill_id=f"{number}", price=100.0 - number, size=size))
        orders.append(at(number * 4 + 1, **key, order_id=name, state="canceled", status=name, order_type=name))
        instruments.append(at(0, **key, base=name, sub_seq=2))
    balances = [at(0, total=1000.0, available=1000.0, sub_seq=3)]
    found = {"top": top, "trades": trades, "events": events, "fills": fills, "orders": orders}
    return {**found, "instruments": instruments, "balances": balances}


#: Commands whose tables people read.
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "info": ("info", "{}"),
    "ls": ("ls", "{}/.."),
    "gaps": ("gaps", "{}", "--rows", "0"),
    "verify": ("verify", "{}", "--quick"),
    "spreads": ("analyze", "spreads", "{}"),
    "orders": ("analyze", "orders", "{}"),
    "pnl": ("analyze", "pnl", "{}"),
    "sql": ("sql", "{}", 'SELECT symbol, detail AS "\x1b[31m\n" FROM events', "--rows", "0"),
    "error": ("sql", "{}", "SELECT \x1b[31m FROM\n nowhere"),
    "no pair": ("analyze", "spreads", "{}", "--pair", "no\x1b[31m\nsuch"),
}


def folder_of(place: Path, name: str, names: list[str]) -> Path:
    folder = make_recording(place / name, rows_of(names)).path
    manifest = read_manifest(folder)
    manifest.symbols = {f"testex/{each}": each for each in names}
    write_manifest(folder, manifest)
    return folder


def shown_of(folder: Path) -> dict[str, str]:
    found = {}
    for name, words in COMMANDS.items():
        done = run(*(word.replace("{}", str(folder)) for word in words))
        found[name] = done.stdout + done.stderr
    return found


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    short = [name for name in NAMES if name not in KINDS["grow"]]
    folder = folder_of(tmp_path_factory.mktemp("evil"), "tape\x1b[31m\nx\u202e", short)
    plain = folder_of(tmp_path_factory.mktemp("good"), "tape", [f"C{number}" for number in range(len(short))])
    return Work(folder, shown_of(folder), shown_of(plain))


# -- terminal and log -----------------------------------------------------------------------------------------------------


def is_visible(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


def terminal(kind: str, work: Work) -> None:
    """Every table and every line: no character but visible ones, and no line more than of harmless names."""
    for command, shown in work.shown.items():
        assert is_visible(shown), command
        if kind == "forge":
            assert shown.count("\n") == work.harmless[command].count("\n"), command


def log(kind: str, work: Work) -> None:
    for name in KINDS[kind]:
        stream = io.StringIO()
        StatusLine(stream).log(f"venue error: {name}")
        (line,) = stream.getvalue().splitlines()
        assert is_visible(line)
        assert len(line) < LINE_MAX + 100
        assert len(one_line(name)) < LINE_MAX + 100


# -- pages and pictures ----------------------------------------------------------------------------------------------------

Drawn = list[tuple[list[str], Path]]


def draw(place: Path, names: list[str], words: tuple[str, ...], ending: str) -> Drawn:
    """Pictures of recordings with as many names as one holds; those of pixels in a process of its own, which they may end."""
    found = []
    for first in range(0, len(names), PANELS_MAX):
        some = names[first : first + PANELS_MAX]
        folder = folder_of(place, f"{words[-1]}-{first}-</script>\n", some)
        path = place / f"{words[-1]}-{first}.{ending}"
        if ending == "png":
            ended = spawn(*words, folder, "--plot", path, "--json")
            assert ended.returncode == 0, ended.stderr[-500:]
        else:
            assert run(*words, folder, "--plot", path, "--json").exit_code == 0
        found.append((some, path))
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw(tmp_path_factory.mktemp("page"), TWO_OF_EACH, ("analyze", "spreads"), "html")


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return draw(tmp_path_factory.mktemp("picture"), TWO_OF_EACH, ("analyze", "pnl"), "png")


def html(kind: str, page: Drawn) -> None:
    """The page has the scripts that it has without any name, and within the last of them one line of JSON, the names in it."""
    seen = set()
    for names, path in page:
        text = path.read_bytes().decode()
        head, begin, rest = text.rpartition("const spec = ")
        spec, end, tail = rest.partition(";\n")
        assert begin
        assert end
        assert head.count("<script") == head.count("</script") + 1
        assert tail.count("</script") == 1
        assert not set("<>&\u2028\u2029\n") & set(spec)
        assert spec.isascii()
        texts = json.dumps(json.loads(spec.replace("NaN", "null")), ensure_ascii=False)
        for name in names:
            assert json.dumps(label(name), ensure_ascii=False)[1:-1] in texts
        assert len(text) < 3_000_000
        seen.update(names)
    assert seen & set(KINDS[kind])


def png(kind: str, picture: Drawn) -> None:
    """It is drawn, with every one of them, and no larger than it is with short ones."""
    for names, path in picture:
        assert set(names) & set(KINDS[kind])
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert width < 4000
        assert height < 6000


@pytest.mark.slow
@pytest.mark.parametrize(("words", "ending"), [(("analyze", "spreads"), "png"), (("analyze", "pnl"), "html")])
@pytest.mark.parametrize("first", range(0, len(NAMES), PANELS_MAX))
def test_every_name_can_be_drawn(words: tuple[str, ...], ending: str, first: int, tmp_path: Path) -> None:
    """The other picture of each kind than above, with every name."""
    found = draw(tmp_path, NAMES[first : first + PANELS_MAX], words, ending)
    for kind in (kind for kind in KINDS if set(KINDS[kind]) & set(found[0][0])):
        (html if ending == "html" else png)(kind, found)


# -- files -----------------------------------------------------------------------------------------------------------------

QUERY: Final = "SELECT symbol, symbol AS {} FROM trades ORDER BY capture_seq"


def asked(work: Work, *more: str, column: str = "x") -> str:
    done = run("sql", work.folder, QUERY.format(sql_name(column)), *more)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def names_in(work: Work) -> list[str]:
    return [name for name in NAMES if name not in KINDS["grow"]]


def csv_(kind: str, work: Work) -> None:
    """Exact; with `--spreadsheet` no cell that is a formula, and nothing else changed; on a terminal nothing that moves it."""
    file = work.folder.with_name("names.csv")  # by a file, since the runner of commands changes line ends
    asked(work, "--out", str(file))
    assert pl.read_csv(file)["symbol"].to_list() == names_in(work)
    asked(work, "--out", str(file), "--spreadsheet", column="=evil")
    found = pl.read_csv(file)
    assert found.columns == ["symbol", "'=evil"]
    for cell, name in zip(found["symbol"], names_in(work), strict=True):
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell in (name, f"'{name}")
    if kind != "run":
        assert is_visible(on_terminal(names_in(work)))
        assert on_terminal(names_in(work)).count("\n") == len(names_in(work)) + 1


def on_terminal(names: list[str]) -> str:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", screen)
        Output(format="csv").write(pl.DataFrame({"a\x1b[1m": names}))
    return screen.getvalue()


def json_(kind: str, work: Work) -> None:
    """The value is exact, its spelling harmless."""
    for way in ("json", "jsonl"):
        text = asked(work, "--format", way)
        assert is_visible(text)
        rows = json.loads(text) if way == "json" else [json.loads(line) for line in text.split("\n") if line]
        assert [row["symbol"] for row in rows] == names_in(work)
    for words in (("info", work.folder), ("verify", "--quick", work.folder), ("gaps", work.folder)):
        text = run(*words, "--json").stdout
        assert is_visible(text)
        json.loads(text)
    assert json.loads(run("info", work.folder, "--json").stdout)["pairs"] == sorted(names_in(work))


def sql(kind: str, work: Work) -> None:
    """A name is found by itself, as a text, as a column, as a pair; the views are as they were."""
    # No argument of a program and no text of SQL can hold a zero.
    names = [name for name in KINDS[kind] if "\x00" not in name]
    counts = ", ".join(f"count(*) FILTER (symbol = {text_in_sql(name)}) AS {sql_name(name)}" for name in names)
    found = json.loads(run("sql", work.folder, f"SELECT {counts} FROM trades", "--json").stdout)
    assert found == [dict.fromkeys(names, 1)]
    name = KINDS[kind][0]
    report = json.loads(run("analyze", "spreads", work.folder, "--pair", name, "--json").stdout)
    assert [row["symbol"] for row in report] == [name]


#: What names would be as names of files.
FILE_NAMES: Final = ["../../x", "/etc/x", "a/b", "CON", "..", "C:\\x", "x" * 128]


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """Coins of such names, by the venue's own frames; the same with harmless ones; and the names. None is over-long."""
    place = tmp_path_factory.mktemp("tape")
    names = [*(name for name in NAMES if name not in KINDS["grow"]), *FILE_NAMES]
    made = []
    for folder, coins in (("evil", names), ("good", [f"C{number}" for number in range(len(names))])):
        lines = [
            collector_line(TS + number, {"channel": "trades", "data": [trade(coin, number, TS // 1_000_000)]})
            for number, coin in enumerate(coins)
        ]
        made.append(import_files(place / folder, b"".join(lines), segment_frames=20).path)
    return made[0], made[1], names


def path(kind: str, tape: tuple[Path, Path, list[str]]) -> None:
    """The files are those of harmless names, and the names are in them."""
    evil, good, names = tape
    files = [sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*")) for folder in (evil, good)]
    assert files[0] == files[1]
    asked = json.loads(run("sql", evil, "SELECT symbol FROM trades ORDER BY capture_seq", "--json").stdout)
    assert [row["symbol"] for row in asked] == names
    assert kind == "grow" or set(KINDS[kind]) <= set(names)


def test_a_recording_of_such_names_can_be_joined_replayed_and_verified(
    tape: tuple[Path, Path, list[str]], tmp_path: Path
) -> None:
    evil = Path(shutil.copytree(tape[0], tmp_path / "it"))
    for words in (("compact",), ("renormalize",), ("verify",), ("replay",)):
        done = run(*words, evil)
        assert done.exit_code == 0, done.stderr
        assert is_visible(done.stdout + done.stderr)
    printed = run("replay", evil, "--print").stdout
    assert is_visible(printed)
    symbols = [json.loads(line)["symbol"] for line in printed.splitlines()]
    assert set(symbols) == set(tape[2])


PLACES: Final[dict[str, Callable[..., None]]] = {
    "html": html,
    "png": png,
    "terminal": terminal,
    "log": log,
    "csv": csv_,
    "json": json_,
    "sql": sql,
    "path": path,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_name_from_outside_does_no_harm(kind: str, place: str, request: pytest.FixtureRequest) -> None:
    if (kind, place) in NONE:
        pytest.skip(NONE[kind, place])
    PLACES[place](kind, request.getfixturevalue({"html": "page", "png": "picture", "path": "tape"}.get(place, "work")))


def test_the_table_says_nothing_of_cells_that_it_does_not_have() -> None:
    assert {kind for kind, _ in NONE} <= KINDS.keys()
    assert {place for _, place in NONE} <= PLACES.keys()


# -- the functions by themselves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_label_is_short_visible_and_begins_as_the_name_does(name: str) -> None:
    shown = label(name)
    assert len(shown) <= LABEL_MAX
    assert shown.isprintable()
    assert shown[:10] == printable(name)[:10]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        (" =1+1", "' =1+1"),
        ("\n=1", "'\n=1"),
        ("\uff1d1", "'\uff1d1"),
        ("BTC-USD", "BTC-USD"),
        ("a=b", "a=b"),
        ("'=1", "'=1"),
        ("", ""),
    ],
)
def test_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str, cell: str) -> None:
    assert spreadsheet_text(text) == cell


def test_numbers_below_zero_are_no_formulas_of_a_spreadsheet() -> None:
    """Only text is quoted: a column of numbers stays one."""
    done = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", done)
        Output(format="csv", is_for_spreadsheet=True).write(pl.DataFrame({"a": [-1.5, None], "b": ["-1.5", "a;=b"]}))
    assert done.getvalue() == '"a","b"\n-1.5,"\'-1.5"\n,"a;=b"\n'


def test_a_label_of_a_metric_stays_within_its_quotes() -> None:
    assert metric_label('a"} 1\nb\\') == 'a\\"} 1\\nb\\\\'


def test_quoting_for_a_spreadsheet_is_of_csv_only(work: Work) -> None:
    done = run("gaps", work.folder, "--spreadsheet")
    assert done.exit_code == 2
    assert "--format csv" in done.stderr


def test_commands_speak_through_the_border_alone() -> None:
    """`click.echo` and `print` are called in two modules."""
    sources = {path.name: path.read_text() for path in Path(cli.__file__).parent.rglob("*.py")}
    assert len(sources) > 20
    spoken = {name: len(re.findall(r"\bclick\.s?echo\(|(?<![\w.])print\(", text)) for name, text in sources.items()}
    assert {name for name, count in spoken.items() if count} == {"results.py", "printable.py"}
