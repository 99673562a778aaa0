"""Synthetic pedestrians: a small articulated 3D body rendered with numpy."""
