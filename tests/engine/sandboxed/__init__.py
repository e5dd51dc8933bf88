"""A workflow that a worker must refuse."""
