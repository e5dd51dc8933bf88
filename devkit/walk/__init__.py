"""Random walks of a fleet: commands, faults, killed workers and jumps of the clock, then the exit.

`python -m devkit.walk` plays sequences of random actions on simulated hosts, with the real command
line, workflows, activities and store, and a Temporal server. After each one it follows only the
commands that the software itself names, and checks that nothing is stuck.
"""
