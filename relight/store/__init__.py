"""The store: the fleet's declared and actual state, and the log of all changes."""
