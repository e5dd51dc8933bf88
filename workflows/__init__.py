"""Workflows: which steps run in which order. Each `run` shows the happy path."""
