"""What a recording is on disk: its tables, manifest and names of files; messages and frames to rows and back."""
