"""A process of several that ends while Gloo's threads hold a tensor, and keeps the interpreter from them until then."""

import sys

import torch
import torch.distributed as dist

from tinylm.training.distributed import start_ranks

with start_ranks():
    # What still has the group when it is destroyed, as an FSDP2 model does, keeps its threads from being joined
    group = dist.group.WORLD
    sys.setswitchinterval(1000)
    tensor = torch.ones(300_000)
    work = dist.all_reduce(tensor, async_op=True)
    del tensor, work
