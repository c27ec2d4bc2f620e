"""Normalized rows as columns of numpy, for compiled code."""
