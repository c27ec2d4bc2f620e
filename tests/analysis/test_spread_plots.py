"""Pictures of spreads."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

import analysis
from recordings.recording import Recording
from tests.analysis.quotes import odd_quotes
from tests.analysis.tapes import make_recording
from toolkit.errors import ConfigError


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make_recording(tmp_path_factory.mktemp("tapes") / "tape", {"top": odd_quotes("BTC")})


@pytest.mark.usefixtures("full_pictures")
def test_a_picture_is_a_png_of_sensible_size_and_always_the_same(recording: Recording, tmp_path: Path) -> None:
    """Drawn twice in one process, where names that are counted up would differ."""
    drawn = [
        analysis.plot_spreads(analysis.spread_window(recording), tmp_path / name) for name in ("one.png", "two.png")
    ]
    content = drawn[0].path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert 1500 < width < 3000
    assert 400 < height < 1500
    assert (drawn[0].pairs, drawn[0].left_out) == (("BTC-USD",), ())
    assert content == drawn[1].path.read_bytes()


def test_a_page_loads_nothing_and_is_always_the_same(recording: Recording, tmp_path: Path) -> None:
    """No source, no style sheet, no module from anywhere: it works without a network."""
    pages = []
    for name in ("one.html", "two.html"):
        analysis.plot_spreads(analysis.spread_window(recording), tmp_path / name)
        pages.append((tmp_path / name).read_text())
    assert re.findall(r"<script[^>]*\ssrc=|<link\b|@import\b|<iframe|<img[^>]*src=[\"']?http", pages[0]) == []
    assert not re.search(r"cdn\.|jsdelivr|unpkg|googleapis|import\s*\(\s*[\"']http|from\s*[\"']http", pages[0])
    assert "BTC-USD" in pages[0]
    assert pages[0] == pages[1]


def test_the_busiest_pairs_are_drawn_and_the_others_named(tmp_path: Path) -> None:
    symbols = [f"C{number:02d}" for number in range(analysis.PANELS_MAX + 2)]
    rows = [row for number, symbol in enumerate(symbols) for row in odd_quotes(symbol, 3 + number)]
    window = analysis.spread_window(make_recording(tmp_path / "tape", {"top": rows}))
    drawn = analysis.plot_spreads(window, tmp_path / "spreads.html")
    assert "2 more pairs are not shown" in drawn.path.read_text()
    assert drawn.left_out == ("C00-USD", "C01-USD")
    assert drawn.pairs == tuple(f"{symbol}-USD" for symbol in symbols[2:])


def test_what_cannot_be_drawn_is_said(recording: Recording, tmp_path: Path) -> None:
    window = analysis.spread_window(recording)
    with pytest.raises(ConfigError, match=r"^cannot draw .*spreads.gif: expected a name that ends in .png or .html$"):
        analysis.plot_spreads(window, tmp_path / "spreads.gif")
    with pytest.raises(ConfigError, match=r"^cannot write .*spreads.html: No such file or directory$"):
        analysis.plot_spreads(window, tmp_path / "nowhere" / "spreads.html")
    empty = analysis.spread_window(make_recording(tmp_path / "empty", {"trades": [{}]}))
    with pytest.raises(ConfigError, match=r"^nothing to draw: no pair of .*empty has a quote with both sides$"):
        analysis.plot_spreads(empty, tmp_path / "spreads.png")
