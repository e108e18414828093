"""A small client of etcd's API, version 3, on grpc.aio: what the etcd store needs of it."""
