"""Sources of releases. Their functions raise only `relight.releases.errors.RepositoryError`."""
