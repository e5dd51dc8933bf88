"""One retryable effect on the outside world each, safe to run twice."""
