"""Backbones, heads, the momentum copy and the queue."""
