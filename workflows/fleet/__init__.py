"""Workflows on the whole fleet: reconcile, sweep, pool."""
