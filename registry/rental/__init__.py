"""Addresses and who lives where: the rental-house register (residence.md 7 and 9)."""
