"""How good depth is: metrics, bags that are played to a model, tables and pictures."""
