"""The registry: the lease table of the mesh and its gRPC face."""
