"""Activities on one route: its record, its hot swap, its proof, its replacement."""
