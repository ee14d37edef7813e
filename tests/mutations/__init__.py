"""Seeded damage to whatever people and other programs can hand to the doors: no traceback, no hang, no wrong row."""
