"""How we are a venue: a folder each, with its recorded and its synthetic side; `replay.serving.registry` finds them."""
