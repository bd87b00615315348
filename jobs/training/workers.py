"""What several workers do together. With one worker all of it does nothing.

Batch normalisation is not synchronised: it sees the recipe's micro-batch, which is the same for
any number of workers. Its running statistics are those of worker 0.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jobs import device as devices
from jobs.job import JobContext


def make_parallel(network: nn.Module, context: JobContext) -> nn.Module:
    """Wrap a network so that its gradients are averaged over the workers."""
    if context.world_size == 1:
        return network
    ids = [torch.device(context.device)] if devices.is_cuda(context.device) else None
    # buffers are made equal before evaluations and checkpoints (`share_buffers`), not in every step
    return DistributedDataParallel(network, device_ids=ids, broadcast_buffers=False)


def share_buffers(networks: Iterable[nn.Module], context: JobContext) -> None:
    """Give all workers worker 0's buffers (running statistics)."""
    if context.world_size == 1:
        return
    for network in networks:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def total(values: Tensor, context: JobContext) -> Tensor:
    """Return the sum of a tensor over the workers."""
    if context.world_size > 1:
        dist.all_reduce(values)
    return values


def first_says(yes: bool, context: JobContext) -> bool:
    """Return worker 0's answer on every worker."""
    if context.world_size == 1:
        return yes
    flag = torch.tensor([int(yes)], device=context.device)
    dist.broadcast(flag, src=0)
    return bool(flag.item())
