"""The state between two frames: protocols, books and digest, kept in files so that reading can begin there."""
