"""The lab: real machines, a real repository, and nothing left behind."""
