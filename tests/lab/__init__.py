"""The lab: real machines, a real repository, no leftovers."""
