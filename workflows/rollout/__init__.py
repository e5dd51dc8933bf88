"""The rollout of one release over a scope, and its waves."""
