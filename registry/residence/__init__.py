"""Persons, applications, permits, cards: the residence register, the single truth on permit status."""
