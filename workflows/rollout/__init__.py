"""One release over a scope."""
