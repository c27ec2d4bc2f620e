"""`tickdeck import`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from recordings.care.verifying import verify
from recordings.recording import Recording
from tests.tapes import TS, bbo_frame, collector_line, messages_of
from tests.toolkit.cli.terminal import only_error, run

MS = TS // 1_000_000
GOOD = b"".join(collector_line(TS + number, bbo_frame("@107", MS, (10.0 + number, 1.0), None)) for number in range(3))


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "capture.gz"
    path.write_bytes(gzip.compress(GOOD + b"rubbish\n" + collector_line(TS + 9, {"channel": "new"})))
    return path


def test_a_collectors_file_becomes_a_recording(tmp_path: Path, capture: Path) -> None:
    """Results to stdout; what was damaged is shown on stderr and stops nothing."""
    done = run("import", "collector", "--venue", "hyperliquid", capture, "--out", tmp_path / "tape")
    assert done.exit_code == 0
    assert "sealed, import, 1 segment)" in done.stdout
    assert "frames that could not be parsed  2" in done.stdout
    query = "\"SELECT capture_seq, detail FROM events WHERE kind = 'parse_error'\""
    assert done.stderr.splitlines() == [
        "capture.gz: 1 of 5 lines are damaged; kept as such",
        f"1 frame could not be parsed; see: tickdeck sql {tmp_path / 'tape'} {query}",
    ]
    assert verify(tmp_path / "tape").is_sound


def test_the_query_it_names_shows_what_could_not_be_parsed(tmp_path: Path, capture: Path) -> None:
    run("import", "collector", "--venue", "hyperliquid", capture, "--out", tmp_path / "tape")
    query = "SELECT capture_seq, detail FROM events WHERE kind = 'parse_error'"
    rows = json.loads(run("sql", tmp_path / "tape", query, "--json").stdout)
    assert [(row["capture_seq"], row["detail"][:27]) for row in rows] == [
        (3, "a damaged line of an import"),
        (4, "unknown channel 'new' in '{"),
    ]


def test_json_says_the_same_for_programs(tmp_path: Path, capture: Path) -> None:
    done = run("import", "collector", "--venue", "hyperliquid", capture, "--out", tmp_path / "tape", "--json")
    values = json.loads(done.stdout)
    assert (values["origin"], values["frames"], values["pairs"]) == ("import", 5, ["@107"])
    assert values["inputs"] == [{"name": "capture.gz", "lines": 5, "damaged_lines": 1, "time_unit": "ns", "note": ""}]


def test_metadata_in_a_file_names_the_pairs(tmp_path: Path, capture: Path) -> None:
    metadata = tmp_path / "metadata.json"
    tokens = [{"name": name, "szDecimals": 2, "index": index} for index, name in enumerate(("USDC", "HYPE"))]
    spot = {"tokens": tokens, "universe": [{"name": "@107", "tokens": [1, 0], "index": 107}]}
    metadata.write_bytes(msgspec.json.encode({"spotMeta": spot}))
    done = run(
        "import",
        "collector",
        "--venue",
        "hyperliquid",
        capture,
        "--out",
        tmp_path / "tape",
        "--metadata",
        metadata,
        "--json",
    )
    assert json.loads(done.stdout)["pairs"] == ["HYPE-USDC"]


def test_the_unit_of_times_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "ms.txt"
    path.write_bytes(collector_line(MS, bbo_frame("BTC", MS)))
    done = run(
        "import", "collector", "--venue", "hyperliquid", path, "-o", tmp_path / "tape", "--time-unit", "ms", "--json"
    )
    assert json.loads(done.stdout)["inputs"][0]["time_unit"] == "ms"
    other = run("import", "collector", "--venue", "hyperliquid", path, "-o", tmp_path / "no", "--time-unit", "ns")
    assert "none of its 1 lines can be read" in only_error(other)


def test_json_lines_and_the_archive_have_commands_of_their_own(tmp_path: Path) -> None:
    frame = bbo_frame("BTC", MS, (10.0, 1.0))
    (tmp_path / "a.jsonl").write_bytes(msgspec.json.encode({"ts": "2026-07-25T17:20:00.123456789Z", "payload": frame}))
    (tmp_path / "a.lz4").write_bytes(
        msgspec.json.encode({"time": "2026-07-25T17:20:00.123456789", "ver_num": 1, "raw": frame})
    )
    for args in (
        ("jsonl", "--venue", "hyperliquid", tmp_path / "a.jsonl", "-o", tmp_path / "jsonl"),
        ("hyperliquid-archive", tmp_path / "a.lz4", "-o", tmp_path / "archive"),
    ):
        assert run("import", *args).exit_code == 0
    assert messages_of(Recording.open(tmp_path / "jsonl")) == messages_of(Recording.open(tmp_path / "archive"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"venue": "nowhere"}, "unknown venue 'nowhere', expected one of "),
        ({"file": "missing.gz"}, "missing.gz cannot be read: No such file or directory"),
        ({"file": "empty"}, "empty: it has no lines, expected lines `<receive time"),
        ({"out": "taken"}, "taken already exists and is not an empty folder: name another one"),
        ({"metadata": "missing.json"}, "missing.json cannot be read: No such file or directory"),
        ({"metadata": "capture.gz"}, "capture.gz is no metadata ("),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path, capture: Path, change: dict[str, str], message: str
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "x").touch()
    given = {"venue": "hyperliquid", "file": capture.name, "out": "tape"} | change
    args: list[str | Path] = [
        "import",
        "collector",
        "--venue",
        given["venue"],
        tmp_path / given["file"],
        "--out",
        tmp_path / given["out"],
    ]
    if "metadata" in given:
        args += ["--metadata", tmp_path / given["metadata"]]
    done = run(*args)
    assert message in only_error(done)
    assert done.exit_code == 1
    assert not (tmp_path / "tape").exists()
