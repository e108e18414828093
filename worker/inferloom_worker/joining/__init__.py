"""How a worker joins the mesh: its address, its lease, and what it says of itself."""
