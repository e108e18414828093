"""Scripts that do a client's main jobs, each in an environment of its own."""
