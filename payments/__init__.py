"""Paying with the card: purse procedures, host, ledger, terminal, clearing."""
