"""Bytes a parameter that DeepSpeed's own engines hold on one of two ranks on the CPU, as a program: a case a line.

Tensors that are alive are counted by their storages. Buckets are tiny, the layers' inputs too: what is left are
weights, gradients and the optimizer's state.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import sys
from typing import Any

RANKS = 2
WIDTH, LAYERS = 256, 32
PARAMETERS = LAYERS * WIDTH * WIDTH
_SMALLEST_BYTES = 50_000
"""Of what is counted: a rank's shard of a layer in 16 bit is larger."""


def list_storages() -> dict[int, Any]:
    """Distinct storages that are alive, by address."""
    import torch

    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), torch.Tensor)]
    tensors += [tensor.grad for tensor in tensors if tensor.is_leaf and tensor.grad is not None]
    storages = [tensor.untyped_storage() for tensor in tensors]
    return {storage.data_ptr(): storage for storage in storages if storage.nbytes() > _SMALLEST_BYTES}


def count_bytes_per_parameter(excluded: dict[int, Any]) -> float:
    """Bytes of those that were not there before, over the model's parameters."""
    return sum(storage.nbytes() for key, storage in list_storages().items() if key not in excluded) / PARAMETERS


def run_case(stage: int, gradients: str) -> dict[str, float]:
    """What there is in the second step after each micro-batch, at the loss of the last one, and in the update."""
    import deepspeed
    import torch

    model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
    model.to(torch.bfloat16)
    # what is moved to the GPU is copied there, and on the CPU the same; other engines' tensors
    excluded = list_storages()
    engine, *_ = deepspeed.initialize(
        model=model,
        model_parameters=model.parameters(),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 2,
            "bf16": {"enabled": True},
            "data_types": {"grad_accum_dtype": gradients},
            "zero_optimization": {
                "stage": stage,
                "reduce_bucket_size": 1000,
                "allgather_bucket_size": 1000,
                "overlap_comm": False,
                # ZeRO 3 has no layer gathered but the one at work
                "stage3_max_live_parameters": 0,
                "stage3_max_reuse_distance": 0,
                "stage3_prefetch_bucket_size": 0,
                "stage3_param_persistence_threshold": 0,
            },
            "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}},
        },
    )
    held: dict[str, float] = {}
    optimizer = engine.optimizer
    # under ZeRO 1 and 2 the copies for the update are made, the others not yet freed
    owner, name = optimizer, "free_grad_in_param_list"
    if stage == 3:
        name = "_release_sub_group"
    elif not hasattr(owner, name):
        owner, name = optimizer.optimizer, "step"
    freed = getattr(owner, name)

    def record_update(*arguments: Any, **named: Any) -> Any:
        held["update"] = max(held.get("update", 0.0), count_bytes_per_parameter(excluded))
        return freed(*arguments, **named)

    inputs = torch.ones(1, WIDTH, dtype=torch.bfloat16)
    for step in range(2):
        for moment in ("between", "last"):
            loss = engine(inputs).float().sum()
            if moment == "last":
                held["loss"] = count_bytes_per_parameter(excluded)
            engine.backward(loss)
            held[moment] = count_bytes_per_parameter(excluded)
            if step and moment == "last":
                setattr(owner, name, record_update)
            engine.step()
    engine.destroy()
    return held


def run_rank(rank: int, port: int) -> None:
    """All cases on one rank; the first prints what it holds."""
    logging.disable(logging.WARNING)
    import deepspeed
    import torch

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS), "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo", verbose=False)
    for stage, gradients in itertools.product((1, 2, 3), ("bf16", "fp32")):
        held = run_case(stage, gradients)
        if rank == 0:
            print(json.dumps({"stage": stage, "gradients": gradients, **held}), flush=True)


if __name__ == "__main__":
    import torch.multiprocessing

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "DS_ACCELERATOR": "cpu"}
    torch.multiprocessing.spawn(run_rank, (int(sys.argv[1]),), nprocs=RANKS)
