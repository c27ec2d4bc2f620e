"""Strategies on recordings and, on paper, on live feeds: the same class, the same session, the same decisions."""
