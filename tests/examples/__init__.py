"""The programs under examples/."""
