"""Faults: the models, and the closed table of their kinds with class, remedy and advice."""
