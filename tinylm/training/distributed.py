"""Training by several processes, as `torchrun` starts them; one process is the case of a single rank.

Every rank takes its own rows of each batch, so that a batch is of the same examples for any number of ranks. Rank 0
reads and writes files and decides; what the others have to know of it, they are sent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Replicate

from tinylm.errors import SilentError, TinyLMError

Value = TypeVar("Value")

# Reading and tokenizing much text takes the main process so long that the others must be patient
_PATIENCE = timedelta(hours=12)
# Seconds
_LAST_TENSORS = 0.2


class Ranks:
    """The processes that train together; by itself, the only one.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
        local_rank: its number among those of this machine.
        local_size: how many these are.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1) -> None:
        self.rank, self.size, self.local_rank, self.local_size = rank, size, local_rank, local_size

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def broadcast(self, value: Value) -> Value:
        """What the main process has."""
        if self.size == 1:
            return value
        values: list[Any] = [value if self.is_main else None]
        dist.broadcast_object_list(values, src=0)
        result: Value = values[0]
        return result

    def from_main(self, make: Callable[[], Value]) -> Value:
        """What `make` gives in the main process, which alone calls it; in all, what it raises of the user's errors."""
        if self.size == 1:
            return make()
        value: Any = None
        error: TinyLMError | None = None
        if self.is_main:
            try:
                value = make()
            except TinyLMError as problem:
                error = problem
        value, message = self.broadcast((value, str(error) if error else None))
        if error is not None:
            raise error
        if message is not None:
            raise SilentError(message)
        result: Value = value
        return result

    def on_main(self, do: Callable[[], object]) -> None:
        """Let the main process do something, and wait for it."""
        if self.size == 1:
            do()
        else:
            self.from_main(lambda: do() and None)

    def one_first(self, make: Callable[[], Value]) -> Value:
        """What `make` gives, in one process of each machine before the others, which find what that one has written."""
        if self.size == 1:
            return make()
        value = make() if self.local_rank == 0 else None
        dist.barrier()
        result: Value | None = make() if self.local_rank else value
        assert result is not None
        return result

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Which flags are set in any process."""
        if self.size == 1:
            return flags
        values = torch.tensor(flags, dtype=torch.int32, device="cpu")
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return tuple(bool(value) for value in values.tolist())

    def same(self, value: object) -> bool:
        """Whether all processes have an equal value."""
        return not self.any(value != self.broadcast(value))[0]

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Scalars on the device, summed over the processes."""
        if self.size == 1:
            return list(tensors)
        total = torch.stack(list(tensors))
        dist.all_reduce(total)
        return list(total.unbind())

    def rows_of(self, array: Any) -> Any:
        """This process's part of what has a row for each example of a batch."""
        count = len(array) // self.size
        return array[self.rank * count : (self.rank + 1) * count]

    def share(self, work: Callable[[Tensor], Tensor], matrices: Tensor) -> Tensor:
        """`work` on a stack of matrices, each process on some of them.

        Args:
            work: gives a stack of the same shape.
            matrices: [count, rows, columns], the same in all processes.
        """
        if self.size == 1:
            return work(matrices)
        parts = list(matrices.tensor_split(self.size))
        results = [torch.empty_like(part) for part in parts]
        if len(parts[self.rank]):
            results[self.rank] = work(parts[self.rank]).to(matrices.dtype).contiguous()
        for rank, result in enumerate(results):
            if len(result):
                dist.broadcast(result, src=rank)
        return torch.cat(results)

    def distribute(self, model: nn.Module, module: nn.Module, blocks: Sequence[nn.Module], sharded: bool) -> nn.Module:
        """A module whose gradients are summed over the processes: DDP, or FSDP2.

        Args:
            model: on the device; takes the main process's weights.
            module: computes with it.
            blocks: of the model, each gathered by itself where it is sharded.
            sharded: each process keeps a part of every weight, of its gradient and of its optimizer's state.
        """
        if self.size == 1:
            return module
        for parameter in model.parameters():
            dist.broadcast(parameter.data, src=0)
        if not sharded:
            return nn.parallel.DistributedDataParallel(module)
        from torch.distributed.fsdp import fully_shard

        for block in blocks:
            fully_shard(block)
        # Resharded also where no backward pass follows, so that the model's parameters are always the parts
        fully_shard(module, reshard_after_forward=True)
        return module


@contextmanager
def start_ranks() -> Iterator[Ranks]:
    """Meet the other processes that `torchrun` started: by gloo, and on GPUs by NCCL. Without it there are none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Ranks()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield Ranks(dist.get_rank(), size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    finally:
        dist.destroy_process_group()
        # Gloo's threads may still hold a last tensor, and abort a process that ends before they could let go of it:
        # https://github.com/pytorch/pytorch/issues/190489
        time.sleep(_LAST_TENSORS)


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its parts; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor that all processes have, divided among them as another is."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    spread = DTensor.from_local(tensor, like.device_mesh, [Replicate()] * like.device_mesh.ndim, run_check=False)
    result: Tensor = spread.redistribute(placements=like.placements)
    return result
