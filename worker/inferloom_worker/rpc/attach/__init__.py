"""The multiplexed link: all calls of a gateway process on one stream (``protos/inferloom/v1/link.proto``)."""
