"""Base images: their contract, their build, and what they must hold for a release."""
