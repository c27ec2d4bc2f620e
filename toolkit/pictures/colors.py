"""The colours of every plot and page, and what each becomes on a dark page."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AMBER",
    "AXIS",
    "BLUE",
    "DARK",
    "DARK_GREY",
    "FAINT",
    "GREY",
    "GRID",
    "HOLLOW",
    "INK",
    "LABEL",
    "LIGHT_BLUE",
    "LINE",
    "ORANGE",
    "OUTLINE",
    "PINK",
    "RED",
    "SERIES",
    "SUBTITLE",
    "TEAL",
]

#: What is most important: a total, a middle price.
INK: Final = "#111827"
LABEL: Final = "#111111"
#: Titles of axes and panels.
DARK_GREY: Final = "#374151"
SUBTITLE: Final = "#4b5563"
#: Lines of lesser weight.
LINE: Final = "#6b7280"
AXIS: Final = "#888888"
#: What is stale, and lines of nothing: zero, limits.
FAINT: Final = "#9ca3af"
GREY: Final = "#d1d5db"
OUTLINE: Final = "#e5e7eb"
GRID: Final = "#f3f4f6"
HOLLOW: Final = "#ffffff"

#: Buys, bids, means.
BLUE: Final = "#2563eb"
LIGHT_BLUE: Final = "#bfdbfe"
#: Sells, asks.
ORANGE: Final = "#ea580c"
AMBER: Final = "#f59e0b"
RED: Final = "#b91c1c"
#: Stretches of which something is not known.
PINK: Final = "#fca5a5"
TEAL: Final = "#0f766e"

#: Of things that are compared, one after the other.
SERIES: Final = (
    BLUE, ORANGE, "#15803d", "#9333ea", "#be123c", "#0e7490",
    "#a16207", "#4f46e5", "#db2777", "#65a30d", "#0284c7", LINE,
)  # fmt: skip

_SERIES_ON_DARK: Final = (
    "#60a5fa", "#fb923c", "#4ade80", "#c084fc", "#fb7185", "#22d3ee",
    "#facc15", "#818cf8", "#f472b6", "#a3e635", "#38bdf8", FAINT,
)  # fmt: skip

#: What each colour becomes on a dark page.
DARK: Final = {
    "white": INK,
    HOLLOW: INK,
    INK: OUTLINE,
    LABEL: GREY,
    DARK_GREY: GREY,
    SUBTITLE: FAINT,
    AXIS: SUBTITLE,
    FAINT: LINE,
    OUTLINE: "#273244",
    GRID: "#1f2937",
    PINK: "#7f1d1d",
    **dict(zip(SERIES, _SERIES_ON_DARK, strict=True)),
}
