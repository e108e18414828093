"""Real processes that are killed, hung and restarted under load."""
