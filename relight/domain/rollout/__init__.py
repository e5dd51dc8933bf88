"""Rollouts: their models, and the decisions about waves, gates and admission."""
