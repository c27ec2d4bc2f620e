"""Recordings that earlier versions made, and what they hold: whatever changes, they open and answer the same."""
