"""What sits on a backbone downstream."""
