"""The one trainer: everything that learns is a method, and one loop trains all of them."""
