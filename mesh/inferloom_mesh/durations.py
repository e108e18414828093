"""Durations between seconds and protobuf."""

from google.protobuf.duration_pb2 import Duration


def duration(seconds: float) -> Duration:
    """Seconds as a message; what is below zero is zero."""
    whole, nanos = divmod(round(max(0.0, seconds) * 1e9), 1_000_000_000)
    return Duration(seconds=whole, nanos=nanos)


def seconds(message: Duration) -> float:
    """A message as seconds. It need not be a valid duration."""
    return message.seconds + message.nanos / 1e9
