"""Real services of Debian, tried on lab machines: provision, swap, roll back, each proven."""
