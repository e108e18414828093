"""OpenAI's name for what answered."""

from inferloom.v1 import inference_pb2 as pb


def fingerprint(started: pb.Started) -> str | None:
    """The beginning of the compute hash, where the worker tells one."""
    return f"fp_{started.compute_hash[:12]}" if started.compute_hash else None
