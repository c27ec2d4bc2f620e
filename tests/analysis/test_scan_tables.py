"""Several recordings as one table, and what follows from quotes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import analysis
from recordings.recording import Recording
from replay.source import ReplayDataSource
from tests.analysis.tapes import make_recording
from tests.toolkit.cli.terminal import only_error, run
from toolkit.clock import SystemClock
from toolkit.errors import ConfigError

TS = 1_700_000_000_000_000_000


@pytest.fixture
def tapes(tmp_path: Path) -> list[Path]:
    quote: dict[str, Any] = {"bid_price": 100.1, "ask_price": 100.3, "ts_recv": TS}
    for number, name in enumerate(("monday", "tuesday")):
        rows = [{**quote, "capture_seq": number}, {**quote, "capture_seq": number + 1, "bid_price": None}]
        make_recording(tmp_path / name, {"top": rows, "trades": [{"capture_seq": number}], "raw": [{}]})
    return [tmp_path / "monday", tmp_path / "tuesday"]


def test_several_recordings_follow_each_other_under_their_names(tapes: list[Path]) -> None:
    found = analysis.scan(tapes, "trades").select("recording", "capture_seq").collect()
    assert found.rows() == [("monday", 0), ("tuesday", 1)]
    assert analysis.scan([Recording.open(tapes[1])], "trades").collect()["recording"].to_list() == ["tuesday"]
    assert analysis.scan(str(tapes[0]), "trades").collect().columns[0] == "recording"


def test_two_of_one_name_are_told_by_their_paths(tapes: list[Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(tapes[0], tmp_path / "more" / "monday"))
    found = analysis.scan([tapes[0], other], "trades").collect()["recording"].to_list()
    assert found == [str(tapes[0]), str(other)]


def test_quotes_are_those_of_the_view(tapes: list[Path]) -> None:
    columns = ["recording", "capture_seq", "mid", "spread", "spread_bps"]
    found = analysis.scan(tapes, "quotes").select(columns).collect().rows()
    with analysis.connect(*tapes) as connection:
        expected = connection.sql(f"SELECT {', '.join(columns)} FROM quotes ORDER BY ALL").fetchall()
    assert found == expected
    assert found[0][2:4] == (100.2, 0.2)
    assert found[1][2:] == (None, None, None)


def test_only_the_columns_that_a_query_needs_are_read(tapes: list[Path]) -> None:
    plan = analysis.scan(tapes, "quotes").select("mid").explain()
    assert "bid_size" not in plan


def test_nothing_to_scan_is_an_error(tapes: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no recording to scan"):
        analysis.scan([], "trades")
    with pytest.raises(ConfigError, match="candles"):
        analysis.scan(tapes, "candles")


def test_own_frames_and_files_join_the_views(tapes: list[Path], tmp_path: Path) -> None:
    """As the page says; nothing else of the machine can be read by a query."""
    (tmp_path / "mine.csv").write_text("capture_seq,label\n0,good\n")
    with analysis.connect(*tapes) as connection:
        connection.register("mine", pl.read_csv(tmp_path / "mine.csv"))
        rows = connection.sql("SELECT recording, label FROM trades JOIN mine USING (capture_seq)").fetchall()
        assert rows == [("monday", "good")]
        with pytest.raises(Exception, match=r"Permission|disabled"):
            connection.sql(f"SELECT * FROM read_csv('{tmp_path / 'mine.csv'}')")


def link_to(path: Path) -> Path:
    link = path.with_name("link")
    link.symlink_to(path, target_is_directory=True)
    return link


OPENERS: dict[str, Callable[[list[Any]], Any]] = {
    "scan": lambda given: analysis.scan(given, "trades"),
    "connect": lambda given: analysis.connect(*given),
    "replay": lambda given: ReplayDataSource(given).recordings,
}


@pytest.mark.parametrize("name", OPENERS)
def test_a_recording_that_stands_there_twice_is_refused(tapes: list[Path], name: str) -> None:
    """By its path, by another path, by a link, or opened."""
    link = link_to(tapes[0])
    roundabout = tapes[0].parent / "tuesday" / ".." / "monday"
    for again in (tapes[0], str(tapes[0]), link, roundabout, Recording.open(tapes[0])):
        with pytest.raises(ConfigError, match=r"(is the same recording as .*|stands there twice): name it once$"):
            OPENERS[name]([tapes[0], tapes[1], again])


@pytest.mark.parametrize("words", [("replay",), ("serve", "--port", "0"), ("sql",)], ids=" ".join)
def test_every_command_that_takes_several_refuses_one_twice(tapes: list[Path], words: tuple[str, ...]) -> None:
    link = link_to(tapes[0])
    more = ["SELECT 1 AS x"] if words[0] == "sql" else []
    said = only_error(run(words[0], tapes[0], link, *words[1:], *more))
    assert said == f"{link} is the same recording as {tapes[0]}: name it once"
    said = only_error(run(words[0], tapes[0], tapes[0], *words[1:], *more))
    assert said == f"{tapes[0]} stands there twice: name it once"


def test_a_file_is_not_imported_twice(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"1 {}\n")
    link = tmp_path / "b.txt"
    link.symlink_to(file)
    for again, said in ((file, f"{file} stands there twice"), (link, f"{link} is the same file as {file}")):
        words = ("import", "collector", "--venue", "hyperliquid", file, again, "--out", tmp_path / "tape")
        assert only_error(run(*words)) == f"{said}: name it once"
    assert not (tmp_path / "tape").exists()


def test_a_copy_is_another_recording(tapes: list[Path], tmp_path: Path) -> None:
    copied = Path(shutil.copytree(tapes[0], tmp_path / "copy"))
    assert analysis.scan([tapes[0], copied], "trades").collect().height == 2
    assert SystemClock().time_ns() > TS
