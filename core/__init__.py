"""Shared kernel: the few things every layer needs. A new file here needs an ADR."""
