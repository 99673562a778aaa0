"""Networks: backbones and their heads, keys and their queue, encoder files, and weights made elsewhere."""
