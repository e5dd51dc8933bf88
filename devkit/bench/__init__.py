"""What a swap of a fleet costs, measured on the lab's machines, beside what general tools cost.

`python -m bench` lets Relight, Ansible, pyinfra and a bare asyncssh script do the same job in turn
on the same machines; `python -m devkit.bench.swap_cost` says where on a host the time of one swap goes.
`python -m devkit.bench.scale` says how the cost of a rollout grows with the fleet, over played hosts.
Nothing imports this.
"""
