"""Calls of functions in what a model says: how each family of models writes them, and how they are read."""
