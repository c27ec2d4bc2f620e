"""Recordings as data sources, the replay server and the embedded venue."""
