"""What `soak` is made of: a mixed load, samples of the mesh, and the judgement on them."""
