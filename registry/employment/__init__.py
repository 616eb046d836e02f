"""Employers and their workers: the employment register (residence.md 8)."""
