"""`python -m tickdeck`: the command, where its script is not on PATH."""

from __future__ import annotations

from toolkit.cli.start import main

if __name__ == "__main__":
    main()
