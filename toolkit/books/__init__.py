"""Order books: one side by side with the other, one out of several forms, one for each pair, and uncrossed."""
