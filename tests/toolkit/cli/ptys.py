"""A terminal of a given width, for commands that look whether they write to one."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["in_terminal"]


def in_terminal(
    command: Sequence[str | Path],
    columns: int,
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run a command with its output and errors on a terminal; its exit status, and what the terminal was sent."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    own = {name: value for name, value in (environment or os.environ).items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=side, stderr=side, cwd=cwd, env=own
    ) as process:
        os.close(side)
        parts = []
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed, which Linux says so
                break
            if not part:
                break
            parts.append(part)
        os.close(main)
        status = process.wait()
    return status, b"".join(parts).decode().replace("\r\n", "\n")
