"""Frozen models and pure decisions, by noun: no clock, no network, no database."""
