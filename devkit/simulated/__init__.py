"""A cloud, hosts, releases and a connectivity check in memory, for tests and for walks.

The cloud and the hosts pass the same contract tests as the lab's.
"""
