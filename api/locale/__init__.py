"""Words of the screens, both languages."""
