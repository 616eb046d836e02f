"""The pilot itself: stages, duties, issues, hearings, publicity, workflows, summary (residence.md 16)."""
