"""Base images: what each is, where it is published, and the decisions about them. Pure."""
