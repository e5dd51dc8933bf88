"""Commands on a host: how one comes there, what is run, and what its answers mean."""
