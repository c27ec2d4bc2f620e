"""Questions to open recordings: which pairs a name means, tables as LazyFrames, gaps, steps of the clock."""
