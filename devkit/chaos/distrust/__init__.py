"""Chaos in what the control plane relies on: its store, keys, clock, listings and hosts.

In each round one of them is wrong for a while, on real hosts, while reconcile runs go on, operators
type commands and processes are killed. Then it is right again. No healthy machine may be destroyed,
and the fleet must become whole by itself or by the commands that its own messages name.
"""
