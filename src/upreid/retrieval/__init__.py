"""From records to features, ranks, and numbers with a stated protocol."""
