"""The main job in one go: a small city's cards made, paid with, cleared and proven."""
