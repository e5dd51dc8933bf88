"""Hosts: SSH connections, commands and their parsers, transactions, proofs and first boots."""
