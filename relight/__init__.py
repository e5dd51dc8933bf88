"""Relight but for its Temporal face: models and decisions, the store, hosts, releases, providers."""
