"""What the torch engine asks of a model that computes nothing worth keeping."""

import torch

from inferloom_worker.stepping.sampler import TorchChooser


class FakeModel:
    """A decoder on the CPU that needs no cache; subclasses compute."""

    vocab_size = 300
    context_length = 256
    dtype = torch.float32
    device = torch.device("cpu")
    weights_bytes = 0
    kv_bytes_per_token = 1
    chooser = TorchChooser()

    def allocate(self, blocks: int) -> None:
        """Needs no cache."""
