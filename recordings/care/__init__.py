"""What is done to recordings after they were made: verify, recover, renormalize, compact, prune."""
