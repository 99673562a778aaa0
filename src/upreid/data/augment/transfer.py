"""Numbers drawn on the host, on their way to the device of the pixels."""

import numpy as np
import torch
from torch import Tensor


def send(values: np.ndarray, device: torch.device) -> Tensor:
    """Copy to the device without waiting for it, as float32 where there are fractions: not every device knows float64."""
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # a large copy from ordinary memory would wait for what the GPU is doing
    return tensor.to(device, non_blocking=True)
