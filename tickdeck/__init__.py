"""
The public face of tickdeck: `import tickdeck as td`.

`td.open(folder)` opens a recording, `td.replay(folder)` plays it through the code that ran live, `td.connect` and the
functions for Polars measure it. `docs/python.md` describes every name. Each is loaded when it is first used, so the
import itself takes a few milliseconds; where each comes from is written in `__init__.pyi`, for type checkers too.
"""

from __future__ import annotations

import importlib

from tickdeck.hidden_packages import refuse_hidden

refuse_hidden()


def _places() -> dict[str, str]:
    """Public name to the module that has it: `from MODULE import NAME as NAME` in the stub beside this file."""
    with open(f"{__file__.rpartition('.')[0]}.pyi", encoding="utf-8") as stub:  # noqa: PTH123  # pathlib takes 3 ms
        lines = [line.split() for line in stub if line.startswith("from ")]
    return {words[3]: words[1] for words in lines}


_PLACES = _places()
__all__ = list(_PLACES)  # one list, in the stub


def __getattr__(name: str) -> object:
    """Load a public name, or the version."""
    if name == "__version__":
        from importlib.metadata import version

        return version("tickdeck")
    if name not in _PLACES:
        import difflib

        close = difflib.get_close_matches(name, _PLACES, n=1)
        hint = f"; did you mean {close[0]}?" if close else "; dir(tickdeck) lists what it has"
        raise AttributeError(f"module 'tickdeck' has no attribute {name!r}{hint}")
    value: object = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted([*_PLACES, "__version__"])
