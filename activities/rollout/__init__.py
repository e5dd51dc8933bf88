"""Activities of a rollout: its records, its preflight, its gate checks."""
