"""Benchmarks: the cost of a hot swap on the lab's machines, compared with general tools.

- `python -m devkit.bench`: Relight, Ansible, pyinfra and a bare asyncssh script do the same swap
  in turn on the same machines.
- `python -m devkit.bench.swap_cost`: where on a host the CPU time of one swap goes.
- `python -m devkit.bench.scale`: how the cost of a rollout grows with the fleet, on
  simulated hosts.
- `python -m devkit.bench.scale.verify`: the cost of a reconcile run, on simulated hosts.
- `python -m devkit.bench.scale.liveness`: the cost of a liveness check, on simulated hosts.
"""
