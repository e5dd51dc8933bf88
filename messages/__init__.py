"""What crosses the wire: frozen pydantic models, and nothing else."""
