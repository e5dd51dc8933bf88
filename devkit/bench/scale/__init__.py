"""How the cost of a rollout grows with the fleet, over hosts that are played.

`python -m devkit.bench.scale` rolls a release out with the real worker, workflows and activities, over SSH
and HTTP, to hosts that one other process plays: `devkit.bench.scale.hosts`. It says what a route costs in
a small fleet and in a large one, beside each other. Nothing imports this.
"""
