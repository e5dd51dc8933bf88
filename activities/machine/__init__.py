"""Activities on one machine: create, first boot, drain, evidence, destroy."""
