"""Activities: each has one effect on the outside world, and can safely run twice."""
