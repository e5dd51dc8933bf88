"""Every decision as a pure function: no clock, no network, no database."""
