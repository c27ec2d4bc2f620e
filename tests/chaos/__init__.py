"""
The chaos suite: real recorder processes against a real venue process, killed, starved and lied to.

`python -m tests.chaos` runs all of it; `tests/chaos/test_cut.py` runs a cut.
"""
