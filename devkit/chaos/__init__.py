"""`make chaos`: hot swaps on real hosts, while everything that carries them is killed at random.

Each swap must come to an end, install once at most, and leave a record that is true of its host.
"""
