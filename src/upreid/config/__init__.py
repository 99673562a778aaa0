"""What a run is: frozen dataclasses, recipes, and the command line that fills them. No torch."""
