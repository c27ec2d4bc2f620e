"""
Pictures out of Vega-Lite specifications: PNG, or a web page that loads nothing from anywhere.

The same specification gives the same bytes. The library that draws is loaded when the first picture is drawn.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from toolkit.borders import html_text, json_in_html
from toolkit.clock import NS_PER_S
from toolkit.errors import ConfigError

__all__ = ["bucket_ns", "check_ending", "page_scripts", "png", "write_bytes", "write_chart"]

#: Pixels of a PNG for each of its specification's, both ways.
PNG_SCALE = 2.0
#: Most buckets of time in a panel: what a screen can show, and what keeps a week as small as an hour.
_BUCKETS_MAX: Final = 600

_MINUTE: Final = 60 * NS_PER_S
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_STEPS: Final = (
    *(step * NS_PER_S // 1000 for step in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
    *(step * NS_PER_S for step in (1, 2, 5, 10, 15, 30)),
    *(step * _MINUTE for step in (1, 2, 5, 10, 15, 30)),
    *(step * _HOUR for step in (1, 2, 3, 6, 12)),
)


def bucket_ns(span_ns: int, buckets: int = _BUCKETS_MAX) -> int:
    """The shortest round length of time of which a panel has room for as many as the span takes."""
    for step in _STEPS:
        if span_ns <= step * buckets:
            return step
    return _DAY * -(-span_ns // (_DAY * buckets))


def write_chart(chart: dict[str, Any], path: Path) -> None:
    """
    Write a Vega-Lite specification as a picture.

    Raises ConfigError for a name that ends in neither `.png` nor `.html`, or a file that cannot be written.
    """
    check_ending(path)
    write_bytes(path, png(chart) if path.suffix.lower() == ".png" else _html(chart))


def check_ending(path: Path) -> None:
    """Raise ConfigError for a name that ends in neither `.png` nor `.html`."""
    if path.suffix.lower() not in (".png", ".html"):
        raise ConfigError(f"cannot draw {path}: expected a name that ends in .png or .html")


def png(chart: dict[str, Any]) -> bytes:
    """A specification as a PNG, at `PNG_SCALE` times its size. Raises ConfigError where it cannot be drawn."""
    import vl_convert

    try:
        return bytes(vl_convert.vegalite_to_png(chart, scale=PNG_SCALE))
    except ValueError as exc:
        raise ConfigError(f"the picture cannot be drawn ({str(exc).splitlines()[0]}); draw a .html") from exc


def _html(chart: dict[str, Any]) -> bytes:
    import vl_convert

    # A menu entry that sends the data to a web site has no place in a page that needs no network.
    chart = {**chart, "usermeta": {"embedOptions": {"actions": {"export": True, "editor": False, "source": False}}}}
    # The page is made around a place for the chart: what is put in by `vl_convert` itself may end the script.
    empty = {"$schema": chart["$schema"], "description": "here"}
    before, found, after = vl_convert.vegalite_to_html(empty, bundle=True).rpartition(json_in_html(empty))
    if not found:
        raise ConfigError("the page cannot be drawn: vl-convert spells its chart in an unknown way; draw a .png")
    # The page is called as the picture is: of ten open ones each has its own name.
    before = re.sub(r"<title>.*?</title>", lambda _: f"<title>{html_text(_title(chart))}</title>", before, count=1)
    return f"{before}{json_in_html(chart)}{after}".encode()


def page_scripts() -> str:
    """The programs that draw in a page, `vegaEmbed` among them, as text for the inside of a `<script>`."""
    import vl_convert

    # Without a program of one's own it is the whole of them, which the types do not say.
    bundle: str = vl_convert.javascript_bundle(None)  # type: ignore[arg-type]
    # Nothing of it may end the script that it is in.
    return re.sub(r"</(script)", r"<\\/\1", bundle, flags=re.IGNORECASE)


def _title(chart: dict[str, Any]) -> str:
    title = chart.get("title", "")
    return str(title.get("text", "") if isinstance(title, dict) else title)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all. Raises ConfigError where it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror or exc}") from exc
    finally:
        part.unlink(missing_ok=True)
