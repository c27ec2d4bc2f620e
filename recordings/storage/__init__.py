"""Files and locks on disk: written whole or not at all, held by one writer, set aside and not deleted."""
