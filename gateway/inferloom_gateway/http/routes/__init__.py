"""The endpoints: each reads a body, has it translated and carried out, and returns the answer."""
