"""Benchmarks and chaos tests of the whole system. Not in the wheel; only tests import it."""
