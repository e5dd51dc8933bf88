"""Parts of several workflows: make a machine, remove a machine."""
