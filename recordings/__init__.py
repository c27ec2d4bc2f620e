"""The record format: journal, sealing, reading, verifying. `FORMAT.md` beside this file is its specification."""
