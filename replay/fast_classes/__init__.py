"""Strategies of Python called out of the compiled engine: the session's own calls, desk and log, with the market in arrays."""
