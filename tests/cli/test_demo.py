"""`tickdeck demo`: the whole road, short."""

from __future__ import annotations

import re
from pathlib import Path

from recordings.verifying import verify
from tests.cli.terminal import spawn


def test_the_demo_shows_recording_proof_and_spreads(tmp_path: Path) -> None:
    """The digests are equal, every pair has a spread, and the paths it prints are there."""
    done = spawn("demo", "--duration", "2s", "--out", "tape", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert [line[:2] for line in text.splitlines() if re.match(r"\d\. ", line)] == ["1.", "2.", "3."]
    digests = re.findall(r"^digest (?:while recording|of the .*?) +([0-9a-f]{32})$", text, re.MULTILINE)
    assert (len(digests), len(set(digests))) == (3, 1)
    assert "All equal: every message and every book after it is the same, live and replayed." in text
    for pair in ("BTC-USD", "ETH-USD", "PURR-USDC"):
        assert pair in text.partition("3. Its spreads")[2]
    assert (tmp_path / "tape" / "spreads.png").read_bytes().startswith(b"\x89PNG")
    assert verify(tmp_path / "tape").problems == []
    assert verify(tmp_path / "tape").recorded_digest == digests[0]
    assert "a synthetic exchange (seed 7) listens on ws://127.0.0.1:" in done.stderr


def test_the_demo_takes_no_folder_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    done = spawn("demo", "--out", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("is not empty and not a recording: name another folder")
