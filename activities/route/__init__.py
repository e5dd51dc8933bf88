"""Activities on one route: records, hot swap, proof, replacement, disruption ledger."""
