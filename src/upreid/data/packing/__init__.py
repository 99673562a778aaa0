"""How images become a packed set: `shard` makes an archive of some images, `folder` the whole."""
