"""How the store's tables came to their shape, step by step."""
