"""From a configuration to the parts of a run: the only place besides the programs that knows both."""
