"""Market data in whole stretches: what reaches nobody goes from columns to compiled code without a message."""
