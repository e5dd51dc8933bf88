"""Drivers of providers over fake vendors whose API goes wrong, in workers that are killed.

No machine may be left, made twice or taken from somebody else, and the bill must be on record.
"""
