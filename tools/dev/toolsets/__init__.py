"""Random sets of tools, what is asked of a server with them, and what its answers come to."""
