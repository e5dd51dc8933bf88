"""Drivers of providers. Their calls raise only `relight.providers.driver.ProviderError`."""
