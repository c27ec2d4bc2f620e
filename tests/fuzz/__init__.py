"""The compiled way of importing against the plain one, over frames and files that are mutated at random."""
