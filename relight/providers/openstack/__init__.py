"""The driver of OpenStack."""
