"""Activities of a rollout: its record, its preflight, its checks."""
