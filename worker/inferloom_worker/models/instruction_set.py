"""What torch computes with."""

import torch


def torch_instruction_set(device: torch.device) -> str:
    """What torch computes with on a device: ``avx512``, ``sm_90``."""
    if device.type == "cuda":
        return "sm_{}{}".format(*torch.cuda.get_device_capability(device))
    return torch.backends.cpu.get_cpu_capability().lower()
