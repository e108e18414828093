"""Models that a server beside the worker computes."""
