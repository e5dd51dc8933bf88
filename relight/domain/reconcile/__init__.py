"""Reconcile: the comparison of declared and actual, and the actions that follow."""
