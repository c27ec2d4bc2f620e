"""Capture files of other programs become a recording."""

# `from recordings.importing import import_capture` is what programs outside of this project say.
from recordings.importing.importer import ImportOptions, import_capture

__all__ = ["ImportOptions", "import_capture"]
