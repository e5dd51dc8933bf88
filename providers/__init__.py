"""Drivers for the clouds that sell machines. Raises `providers.errors.ProviderError` alone."""
