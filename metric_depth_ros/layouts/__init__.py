"""How checkpoint folders are laid out: our own way, and the two public ones."""
