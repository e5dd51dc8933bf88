"""Sweep: machines without record, and records without machine."""
