"""Workflows on base images."""
