"""Activities on the whole fleet: observe, verify, sweep, pool."""
