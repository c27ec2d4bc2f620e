"""What dYdX v4 understands and how it refuses, whatever is behind it."""
