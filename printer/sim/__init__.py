"""A simulated card printer: its mechanics, its wire, its faults, and the cards it leaves behind."""
