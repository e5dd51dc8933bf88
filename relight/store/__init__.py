"""The store: what the fleet is, what it should be, and everything that was done to it."""
