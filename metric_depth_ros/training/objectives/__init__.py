"""Training objectives, one a method: `loss(method, batch, generator)` -> named scalars."""
