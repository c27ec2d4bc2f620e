"""Bits that flip on a disk: nothing that reads a recording may answer from them without a word."""
