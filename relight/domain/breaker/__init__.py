"""The breaker: whether machines may be destroyed."""
