"""``inferloom doctor``: what is wrong with a machine or a mesh, and what mends it."""
