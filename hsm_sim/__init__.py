"""The HSM simulator: the only place, next to the chip, where clear keys exist."""
