"""The command `tickdeck`, and `python -m tickdeck`: they begin here, where it is known that no package is hidden."""

from __future__ import annotations

from toolkit.cli.start import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
