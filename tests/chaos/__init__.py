"""
The chaos suite: real recorder processes against a real venue process, killed, starved and lied to.

`python -m tests.chaos` runs all of it; `tests/recordings/test_chaos.py` runs a cut.
"""
