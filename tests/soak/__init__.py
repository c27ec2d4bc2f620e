"""The soak: one recorder for long, whose memory, handles and tasks must stay what they are."""
