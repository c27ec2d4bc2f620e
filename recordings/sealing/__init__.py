"""A closed journal becomes a segment: Parquet files, states and an entry of the manifest."""
