"""What can be trained, one file a method. `method.py` holds the interface."""
