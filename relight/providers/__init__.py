"""Drivers for the clouds that sell machines. Raises `relight.providers.driver.ProviderError` alone."""
