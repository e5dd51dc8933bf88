"""Checks of all that a control plane needs: for `relight doctor`, and for a worker at its start."""
