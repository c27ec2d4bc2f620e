"""Name and version of what writes recordings."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["SOFTWARE"]

try:
    SOFTWARE = f"tickdeck {version('tickdeck')}"
except PackageNotFoundError:  # run from a source tree that was never installed
    SOFTWARE = "tickdeck (not installed)"
