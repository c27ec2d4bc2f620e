"""How fast it is: `python -m benchmarks [name...]` prints the machine and then figure after figure, never a verdict."""
