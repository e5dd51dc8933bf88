"""`make chaos`: operations on real hosts while the processes they depend on are killed at random.

Every operation must end, install at most once, and leave a record that matches its host.
"""
