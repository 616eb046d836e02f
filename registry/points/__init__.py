"""The 23 acceptance points and what their counters do with chips (residence.md 11)."""
