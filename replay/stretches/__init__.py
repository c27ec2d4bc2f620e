"""Market data in whole stretches: what no callback receives goes from columns to compiled code without a message."""
