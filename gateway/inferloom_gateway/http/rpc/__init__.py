"""The native contract over HTTP/1.1: Connect and gRPC-Web, from the descriptors."""
