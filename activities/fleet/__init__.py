"""Activities on the whole fleet: observe, verify, remediate, sweep, pool."""
