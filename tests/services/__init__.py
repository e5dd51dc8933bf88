"""Real services of Debian on real machines."""
