"""Where releases come from. Raises `repositories.errors.RepositoryError` alone."""
