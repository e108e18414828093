"""The multiplexed link: all calls to a worker on one stream (``protos/inferloom/v1/link.proto``)."""
