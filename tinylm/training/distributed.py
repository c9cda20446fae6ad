"""Training in several processes started by `torchrun`: DDP and FSDP2. A single process is one rank.

Every rank computes its own rows of each batch, so that a batch has the same examples for any number of ranks. Rank 0,
the main process, reads and writes files, makes decisions and sends them to the others.
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

# The others wait while the main process reads and tokenizes, which may take hours
_TIMEOUT = timedelta(hours=12)
_LAST_TENSORS_SECONDS = 0.2


class Ranks:
    """The processes that train together, seen from one of them; by default a single one.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        local_rank: number of this process on this machine, from 0.
        local_size: number of processes on this machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1) -> None:
        self.rank, self.size, self.local_rank, self.local_size = rank, size, local_rank, local_size

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and shows messages."""
        return self.rank == 0

    def broadcast(self, value: Value) -> Value:
        """Return the main process's value in every process."""
        if self.size == 1:
            return value
        values: list[Any] = [value if self.is_main else None]
        dist.broadcast_object_list(values, src=0)
        result: Value = values[0]
        return result

    def from_main(self, make: Callable[[], Value]) -> Value:
        """Call `make` in the main process and return its value in every process.

        Raises:
            TinyLMError: `make` raised it in the main process.
            SilentError: the same, in the other processes.
        """
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
        """Call `do` in the main process while the others wait; raises as `from_main` does."""
        if self.size == 1:
            do()
        else:
            self.from_main(lambda: do() and None)

    def one_first(self, make: Callable[[], Value]) -> Value:
        """Call `make` in one process of each machine, then in the others, which find the files that the first wrote."""
        if self.size == 1:
            return make()
        value = make() if self.local_rank == 0 else None
        dist.barrier()
        result: Value | None = make() if self.local_rank else value
        assert result is not None
        return result

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Return which flags are True in at least one process."""
        if self.size == 1:
            return flags
        values = torch.tensor(flags, dtype=torch.int32, device="cpu")
        dist.all_reduce(values, dist.ReduceOp.MAX)
        return tuple(bool(value) for value in values.tolist())

    def same(self, value: object) -> bool:
        """Return whether the value is equal in all processes."""
        return not self.any(value != self.broadcast(value))[0]

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Sum scalar tensors over the processes."""
        if self.size == 1:
            return list(tensors)
        total = torch.stack(list(tensors))
        dist.all_reduce(total)
        return list(total.unbind())

    def rows_of(self, array: Any) -> Any:
        """Return this process's rows of an array with a row for each example of a batch."""
        count = len(array) // self.size
        return array[self.rank * count : (self.rank + 1) * count]

    def share(self, work: Callable[[Tensor], Tensor], matrices: Tensor) -> Tensor:
        """Apply a function to a stack of matrices, each process to some of them.

        Args:
            work: returns a stack of the shape that it is given.
            matrices: [count, rows, columns], the same in all processes.

        Returns:
            the results for all matrices, in every process.
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
        """Wrap a module so that its gradients are summed over the processes: by DDP or FSDP2.

        Args:
            model: the model, on its device; it receives the main process's weights.
            module: the module that computes the loss with it.
            blocks: the model's blocks, which FSDP2 gathers one by one.
            sharded: use FSDP2: each process keeps a part of every weight, gradient and optimizer state.
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
        # Resharded also where no backward pass follows, so that the parameters are always the sharded ones
        fully_shard(module, reshard_after_forward=True)
        return module


@contextmanager
def start_ranks() -> Iterator[Ranks]:
    """Join the process group of `torchrun`, by gloo on CPUs and NCCL on GPUs; without it, yield a single rank."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield Ranks()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield Ranks(dist.get_rank(), size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    finally:
        dist.destroy_process_group()
        # Gloo's threads may still hold a last tensor, and abort a process that ends before they release it:
        # https://github.com/pytorch/pytorch/issues/190489
        time.sleep(_LAST_TENSORS_SECONDS)


def whole(tensor: Tensor) -> Tensor:
    """Gather the whole of a sharded tensor; must be called in every process."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Shard a tensor that all processes have in the way that another tensor is sharded."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    spread = DTensor.from_local(tensor, like.device_mesh, [Replicate()] * like.device_mesh.ndim, run_check=False)
    result: Tensor = spread.redistribute(placements=like.placements)
    return result
