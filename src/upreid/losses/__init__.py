"""The method in equations: pure functions, tensors in, scalar out."""
