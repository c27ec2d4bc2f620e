"""Many runs in one pass over a tape, and runs that go on from a state of another."""
