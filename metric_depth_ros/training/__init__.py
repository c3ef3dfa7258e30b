"""Training: the one loop, its data, its recipes and the objectives of the methods."""
