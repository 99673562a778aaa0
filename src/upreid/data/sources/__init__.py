"""Where unlabelled images come from."""
