"""`tickdeck gaps`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.analysis.tapes import make_recording
from tests.tapes import TS
from tests.toolkit.cli.terminal import only_error, run


def test_no_gap_exits_with_0_and_one_with_3(tmp_path: Path) -> None:
    make_recording(tmp_path / "whole", {"events": [{"ts_recv": TS, "kind": "notice"}]})
    done = run("gaps", tmp_path / "whole", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    gap = {"ts_recv": TS + 5, "kind": "gap", "stream": "full", "cause": "silence", "ts_start": TS, "ts_end": TS + 5}
    make_recording(tmp_path / "torn", {"events": [gap]})
    done = run("gaps", tmp_path / "torn", "--json")
    assert done.exit_code == 3
    (row,) = json.loads(done.stdout)
    assert (row["trading_pair"], row["stream"], row["cause"]) == ("BTC-USD", "full", "silence")
    assert (row["ts_start"], row["ts_end"]) == ("2026-07-25T17:20:00.123456789Z", "2026-07-25T17:20:00.123456794Z")
    assert "silence" in run("gaps", tmp_path / "torn").stdout


def test_an_unknown_pair_is_one_line(tmp_path: Path) -> None:
    make_recording(tmp_path / "tape", {"events": []})
    assert "'X' is not in " in only_error(run("gaps", tmp_path / "tape", "--pair", "X"))
