"""A recording that is read while it is made: the tee of its recorder, and its clients."""
