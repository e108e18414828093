"""One step's policy: what is computed, with what state, and which tokens are chosen."""
