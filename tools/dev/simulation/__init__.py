"""A mesh in simulated time, for comparing routing policies."""
