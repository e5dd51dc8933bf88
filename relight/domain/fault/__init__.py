"""Faults: the closed table of their kinds, and the models that carry them."""
