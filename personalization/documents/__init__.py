"""Papers of the production centre: labels, traveller, manifest, receipt, acts, shift report (production.md 13)."""
