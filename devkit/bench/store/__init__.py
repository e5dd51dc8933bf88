"""Writes/s of the store on PostgreSQL."""
