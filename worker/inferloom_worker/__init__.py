"""The worker: holds models and serves them over gRPC."""
