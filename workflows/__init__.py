"""What happens to a route, in which order. Each `run` is the happy path on one screen."""
