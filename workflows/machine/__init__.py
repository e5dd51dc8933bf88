"""What several workflows do with one machine: make it, remove it."""
