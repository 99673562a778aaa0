"""The first generator: each picture of `wild/` has a camera and a street of its own."""
