"""What is below `recordings.recording`: sealed files in order, and what is not sealed yet."""
