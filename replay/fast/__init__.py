"""The compiled path: columns of a tape through books, matching and step functions, without an object per message."""
