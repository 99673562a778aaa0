"""How images become a packed set: `entry` an image, `shard` an archive, `folder` the set."""
