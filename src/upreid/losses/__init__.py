"""The losses, as pure functions: tensors in, a scalar out."""
