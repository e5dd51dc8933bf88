"""The lines of the documentation's consoles, typed in the order of their page."""
