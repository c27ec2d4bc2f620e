"""What `recordings.recorder` consists of: journals of a session, rotation, the sealing process, the log."""
