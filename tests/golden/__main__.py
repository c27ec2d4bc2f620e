"""
`python -m tests.golden`: store what golden recordings are expected to hold, where nothing is stored yet.

A recording without an expectation gets one, a raised `protocol_version` an entry of its own. What is stored is never
changed: where it differs from what is found, the code is wrong.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from recordings.format.manifest import read_manifest
from tests.golden.expectations import (
    RECORDINGS,
    expected,
    expected_path,
    found,
    found_renormalized,
    protocol_version,
)


def store() -> None:
    """Add what is missing, and say so."""
    for folder in RECORDINGS:
        path = expected_path(folder)
        values = expected(folder) if path.exists() else found(folder) | {"protocols": {}}
        version = protocol_version(read_manifest(folder))
        if version in values["protocols"]:
            continue
        with tempfile.TemporaryDirectory() as work:
            values["protocols"][version] = found_renormalized(folder, Path(work))
        path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")
        print(f"{path.name}: stored what protocol {version} makes of {path.parent.name}")  # noqa: T201 - a command


if __name__ == "__main__":
    store()
