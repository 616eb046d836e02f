"""The key ceremony: scripts, the people who sign, the console, the audit bundle and its verifier."""
