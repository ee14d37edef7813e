"""What runs hold, as pandas frames: the door for notebooks. Needs the extra ``frames``."""

from citycam.frames.read import read_answers, read_elements, read_epochs, read_maps, read_runs, read_scores

__all__ = ["read_answers", "read_elements", "read_epochs", "read_maps", "read_runs", "read_scores"]
