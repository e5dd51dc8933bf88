"""Workflows that look after the whole fleet."""
