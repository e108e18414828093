"""How the mesh looks from this gateway, and what became of its requests: for whoever shows it."""
