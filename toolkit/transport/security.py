"""TLS that is always verified."""

from __future__ import annotations

import ssl
from pathlib import Path

from toolkit.errors import ConfigError

__all__ = ["tls_context"]


def tls_context(ssl_ca: Path | None = None) -> ssl.SSLContext:
    """
    Verify against the system's certificate authorities, and those in the PEM file `ssl_ca` besides.

    Raises ConfigError if the file cannot be read as certificates.
    """
    context = ssl.create_default_context()
    if ssl_ca is not None:
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
