"""What a recorder looks at before it begins: whether a folder is fit for what is to be recorded."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recordings.format.manifest import MANIFEST_NAME, Manifest, SourceInfo, read_manifest
from recordings.storage.atomic_files import temporary_path
from recordings.storage.lock import LOCK_NAME
from toolkit.errors import ConfigError, RecordingError

__all__ = ["TRACES", "check_folder", "check_same"]

#: Files that a recorder which died before its first manifest leaves behind.
TRACES: Final = frozenset({LOCK_NAME, temporary_path(Path(MANIFEST_NAME)).name})


def check_folder(folder: Path, sources: Sequence[SourceInfo]) -> None:
    """
    Raise what recording these sources into a folder would be refused for; nothing is written.

    Raises:
        ConfigError: It holds something else, or was recorded with other options.
        RecordingError: It cannot be written or read.
    """
    there = folder
    while not os.path.lexists(there) and there.parent != there:
        there = there.parent
    if not there.is_dir():
        raise RecordingError(f"{folder} cannot be written: {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        is_read_only = os.statvfs(there).f_flag & os.ST_RDONLY
        why = os.strerror(errno.EROFS if is_read_only else errno.EACCES)
        raise RecordingError(f"{folder} cannot be written: {there}: {why}")
    if there != folder:
        return
    try:
        names = {path.name for path in folder.iterdir()} - TRACES
    except OSError as exc:
        raise RecordingError(f"{folder} cannot be written: {exc.strerror}") from None
    if names and MANIFEST_NAME not in names:
        raise ConfigError(f"{folder} is not empty and not a recording: name another folder")
    if names:
        check_same(folder, read_manifest(folder), sources)


def check_same(folder: Path, manifest: Manifest, sources: Sequence[SourceInfo]) -> None:
    """Raise ConfigError for a recording that was made with other options than these: going on would mix them up."""
    if manifest.origin != "live":
        what = "the result of a run" if manifest.is_result else "an import"
        raise ConfigError(f"{folder} holds {what}: record into another folder")
    before, now = ({source.venue: source for source in each} for each in (manifest.sources, sources))
    if before.keys() != now.keys():
        raise ConfigError(
            f"{folder} was recorded with {', '.join(sorted(before))}, now {', '.join(sorted(now))} was named: "
            "name the same, or another folder"
        )
    for venue, was in before.items():
        for what in ("pairs", "channels", "accounts"):
            old, new = (tuple(getattr(each, what)) for each in (was, now[venue]))
            if old != new:
                raise ConfigError(
                    f"{folder} was recorded with {what} {' '.join(old) or 'by default'} of {venue}, "
                    f"now {' '.join(new) or 'none'} were named: name the same, or another folder"
                )
        if was.protocol_version != now[venue].protocol_version:
            raise ConfigError(
                f"{folder} was recorded with protocol {was.protocol_version} of {venue}, this is "
                f"{now[venue].protocol_version}: run `tickdeck renormalize {shlex.quote(str(folder))}` first, "
                "or name another folder"
            )
