"""
Whether something on the path hides one of our packages: a user's own `analysis.py`, or a folder `replay`.

Their names are common ones. Python takes the first that it finds, and what stands beside a script, or in the folder
where Python was started, comes first; what fails then is an import deep in our code, which says nothing to its reader.

Every program pays for this module, so it loads nothing that Python has not loaded by itself.
"""

from __future__ import annotations

import os
import sys

__all__ = ["HiddenPackage", "refuse_hidden"]

#: The packages that are installed beside this one.
PACKAGES = ("analysis", "recordings", "replay", "toolkit")


class HiddenPackage(ImportError):
    """Another file or folder of its name hides a package of tickdeck."""


def refuse_hidden() -> None:
    """
    Raise HiddenPackage if Python would load something else under the name of one of our packages, or has loaded it.

    Uncaught, it is printed as one line, without a traceback: the command ends with that line too.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in PACKAGES:
        place = _place_of(name)
        if place is not None and not _is_same(place, os.path.join(home, name)):
            _print_as_one_line()
            raise HiddenPackage(
                f"{place} hides tickdeck's package {name!r}: rename it, "
                "or take its folder off the path (start Python elsewhere, see PYTHONPATH)",
                name=name,
                path=place,
            )


def _place_of(name: str) -> str | None:
    """The file or folder that Python takes for a package; None where it finds none: an import will say so."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is None:
        # As an import would, without `importlib.util`, which takes longer than all of this.
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        spec = next((found for find in finders if find is not None and (found := find(name, None)) is not None), None)
    file = getattr(spec, "origin", None) or getattr(module, "__file__", None)
    if file is None:  # a folder without an `__init__.py`, which Python takes if it finds nothing better
        return next(iter(getattr(spec, "submodule_search_locations", None) or ()), None)
    return os.path.dirname(file) if os.path.basename(file).startswith("__init__.") else str(file)


def _is_same(place: str, ours: str) -> bool:
    try:
        return os.path.samefile(place, ours)
    except OSError:
        return False


def _print_as_one_line() -> None:
    """Print what is raised here as one line, if it is not caught; everything else as it was printed before."""
    hook = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, traceback: object) -> None:
        if isinstance(error, HiddenPackage):
            sys.stderr.write(f"Error: {error}\n")
        else:
            hook(kind, error, traceback)  # type: ignore[arg-type]  # what Python gave us

    sys.excepthook = show
