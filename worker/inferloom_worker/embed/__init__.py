"""Vectors for texts, batched across callers."""
