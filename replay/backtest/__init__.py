"""Backtests: whose clock the simulated venue lives on, latency, order scripts."""
