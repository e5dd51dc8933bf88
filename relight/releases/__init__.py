"""Where releases come from. Raises `relight.releases.errors.RepositoryError` alone."""
