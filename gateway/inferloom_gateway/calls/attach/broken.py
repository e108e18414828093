"""What a frame is that no worker sends."""


class BrokenFrameError(Exception):
    """A frame breaks the link's rules. Nothing that comes behind it can be trusted, so its stream ends."""
