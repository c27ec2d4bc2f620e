"""
Protocols against exact models of their venues, over roads that lose, double, reorder and delay what is sent.

`machine.py` is shared by all venues; a venue's model and the bugs that it must find stand beside it.
"""
