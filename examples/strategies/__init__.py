"""Strategies that teach, each a file that `tickdeck backtest` and `tickdeck paper` take."""
