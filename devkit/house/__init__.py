"""`make house`: the measures of the code base, as docs/decisions/0015-one-house.md states them."""
