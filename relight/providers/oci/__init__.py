"""The driver of Oracle Cloud Infrastructure."""
