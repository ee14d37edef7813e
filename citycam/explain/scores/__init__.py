"""Scores of maps, beside those of maps that know no class, and which differences are more than chance."""
