"""How the cost of a rollout grows with the fleet, measured on simulated hosts.

`python -m devkit.bench.scale` rolls out a release with the real worker, workflows and activities,
over SSH and HTTP, to hosts that one process simulates (`devkit.bench.scale.host_server`). It
compares the cost per route in a small and in a large fleet.
"""
