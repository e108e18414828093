"""The REST façade's request bodies. Whatever passes them is in range of the gRPC contract."""
