"""A seeded market of single orders, sans I/O: no venue's interface, which is in `replay/serving/venues/`."""
