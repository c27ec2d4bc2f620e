"""Each colour has one name, and one that it becomes on a dark page."""

from __future__ import annotations

import math
import re
from itertools import combinations
from pathlib import Path

import toolkit
from toolkit.pictures import colors

ROOT = Path(toolkit.__file__).parent.parent
_LITERAL = re.compile(r"[\"']#[0-9a-fA-F]{6}[\"']")


def test_no_plot_has_a_colour_of_its_own() -> None:
    sources = [path for package in ("replay", "analysis", "toolkit") for path in (ROOT / package).rglob("*.py")]
    found = {path.name for path in sources if _LITERAL.search(path.read_text(encoding="utf-8"))}
    assert found == {"colors.py"}


def test_every_colour_of_a_result_has_one_for_a_dark_page() -> None:
    used = re.findall(r"colors\.([A-Z_]+)", (ROOT / "replay/results/result_plot.py").read_text(encoding="utf-8"))
    named = {getattr(colors, name) for name in used if name not in ("DARK", "SERIES")}
    assert named | set(colors.SERIES) <= set(colors.DARK)


def test_colours_that_are_compared_are_told_apart_on_either_page() -> None:
    assert len(set(colors.SERIES)) == len(colors.SERIES)
    dark = [colors.DARK[color] for color in colors.SERIES]
    assert len(set(dark)) == len(dark)
    for series in (colors.SERIES, dark):
        assert all(_distance(one, other) > 30 for one, other in combinations(series, 2))


def _parts(color: str) -> tuple[int, ...]:
    return tuple(int(color[place : place + 2], 16) for place in (1, 3, 5))


def _distance(one: str, other: str) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(_parts(one), _parts(other), strict=True)))
