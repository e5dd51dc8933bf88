"""The one part of Relight that knows Temporal's client and worker settings."""
