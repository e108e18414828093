"""Version 1 of the contract. Import messages and stubs from the ``*_pb2`` and ``*_pb2_grpc`` modules."""
