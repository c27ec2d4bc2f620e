"""The journal: frames that are on disk and not sealed yet, written and read a batch at a time."""
