"""The pool: machines that are ready before a route needs them."""
