"""Strategies on paper: on live feeds while they are recorded, and compared with the replay of the recording."""
