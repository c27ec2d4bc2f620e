"""The venues: one package each, found by `toolkit.venue`."""
