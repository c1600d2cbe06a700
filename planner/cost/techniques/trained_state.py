"""Ways to train for less, as part of a question: what of the model is trained, and what its state takes.

Only what the functions of time and memory read is here; `techniques.py` makes these values and tells them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.cost.scenario import Scenario, Trainer


def compute_trained_share(scenario: Scenario) -> float:
    """Trained parameters for each parameter of the model."""
    lora = scenario.techniques.lora
    return 1.0 if lora is None else lora.adapter_share


def compute_trainer_state(scenario: Scenario) -> Trainer:
    """What the framework holds and sends, in bytes for each parameter of the model, trained or not."""
    trainer_state, lora, pruning = scenario.trainer, scenario.techniques.lora, scenario.techniques.pruning
    if lora is not None:
        trainer_state = replace(
            trainer_state,
            weight_bytes=lora.frozen_bytes + lora.adapter_share * trainer_state.weight_bytes,
            sharded_weight_bytes=lora.frozen_bytes + lora.adapter_share * trainer_state.sharded_weight_bytes,
            gradient_bytes=lora.adapter_share * trainer_state.gradient_bytes,
            optimizer_bytes=lora.adapter_share * trainer_state.optimizer_bytes,
            grad_reduce_bytes=lora.adapter_share * trainer_state.grad_reduce_bytes,
        )
    if pruning is not None:
        pruning_bytes = pruning.pruned_share * pruning.extra_bytes
        trainer_state = replace(
            trainer_state,
            weight_bytes=trainer_state.weight_bytes + pruning_bytes,
            sharded_weight_bytes=trainer_state.sharded_weight_bytes + pruning_bytes,
        )
    return trainer_state
