"""Reports of a recording's accounts: orders, profit and loss."""
