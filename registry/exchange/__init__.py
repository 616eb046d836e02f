"""Messages between the registers: envelope, outbox, inbox (residence.md 10)."""
