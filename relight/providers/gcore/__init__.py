"""The driver of Gcore's cloud."""
