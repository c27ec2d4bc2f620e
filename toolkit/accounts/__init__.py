"""Accounts: orders, fills, positions and balances, from one stream of messages."""
