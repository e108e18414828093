"""The Inferloom contract: protobuf messages and gRPC stubs under ``inferloom.v1``."""
