"""Relight but for its Temporal face: the domain, the store, hosts, releases, providers, engine."""
