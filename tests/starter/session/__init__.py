"""Terminal sessions, kept as files: what people type, what they read, and what changed."""
