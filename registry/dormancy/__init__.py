"""Sleep and wake of permits by register facts (residence.md 6)."""
