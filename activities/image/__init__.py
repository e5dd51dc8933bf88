"""Activities on base images."""
