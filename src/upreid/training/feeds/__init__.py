"""Where batches come from: for every step, this rank's part of it, and what is needed to go on from any step."""
