"""The service of a .deb: its units, how they run, and what could not be told."""
