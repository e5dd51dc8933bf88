"""The other contestants' own files: they run with their own interpreters, and import none of us."""
