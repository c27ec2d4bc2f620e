"""TLS that is always verified."""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from toolkit.errors import ConfigError

__all__ = ["tls_context"]

_State: TypeAlias = "tuple[str | None, int, int]"


def tls_context(ssl_ca: Path | None = None) -> ssl.SSLContext:
    """
    Verify against the system's certificate authorities, and those in the PEM file `ssl_ca` besides.

    Without the file all who ask share one context, which is made again when the system's authorities have changed.
    Raises ConfigError if the file cannot be read as certificates.
    """
    if ssl_ca is None:
        paths = ssl.get_default_verify_paths()
        return _of_the_system(_state(paths.cafile), _state(paths.capath))
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ssl_ca)
    except ssl.SSLError as exc:
        raise ConfigError(
            f"the file of certificate authorities {ssl_ca} holds none: expected PEM, which has lines "
            "-----BEGIN CERTIFICATE-----"
        ) from exc
    except OSError as exc:
        raise ConfigError(
            f"the file of certificate authorities {ssl_ca} cannot be read: {exc.strerror or exc}; check its path"
        ) from exc
    return context


# Reading the authorities takes 25 ms, which is most of what a source or a REST client takes to be made.
@lru_cache(maxsize=1)
def _of_the_system(cafile: _State, capath: _State) -> ssl.SSLContext:
    return ssl.create_default_context()


def _state(path: str | None) -> _State:
    """What changes when a file or folder does, or when another one is named."""
    if path is None:
        return path, 0, 0
    try:
        found = Path(path).stat()
    except OSError:
        return path, 0, 0
    return path, found.st_mtime_ns, found.st_size
