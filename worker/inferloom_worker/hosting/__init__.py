"""The models that a worker serves: loading them, their cards, and their running calls."""
