"""A recording behind the venue's own interface, for clients that were never written for it."""
