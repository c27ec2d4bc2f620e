"""Pictures, on disk and in memory."""
