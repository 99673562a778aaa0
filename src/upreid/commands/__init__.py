"""One thin file per command: from a configuration to parts, and a call."""
