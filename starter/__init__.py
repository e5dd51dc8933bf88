"""The command line `relight`, the local installation that it starts, and the schedules."""
