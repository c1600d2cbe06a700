"""Ways to train for less, as part of a question: what of the model is trained, and what its state takes.

Only what the functions of time and memory read is here; `techniques.py` makes these values and tells them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from planner.cost.scenario import Framework, Training


def trained_share(training: Training) -> float:
    """Trained parameters for each parameter of the model."""
    lora = training.techniques.lora
    return 1.0 if lora is None else lora.share


def held_state(training: Training) -> Framework:
    """What the framework holds and sends, in bytes for each parameter of the model, trained or not."""
    own, lora, pruning = training.framework, training.techniques.lora, training.techniques.pruning
    if lora is not None:
        own = replace(
            own,
            weight=lora.frozen_bytes + lora.share * own.weight,
            sharded_weight=lora.frozen_bytes + lora.share * own.sharded_weight,
            gradient=lora.share * own.gradient,
            optimizer=lora.share * own.optimizer,
            reduced=lora.share * own.reduced,
        )
    if pruning is not None:
        beside = pruning.share * pruning.bytes
        own = replace(own, weight=own.weight + beside, sharded_weight=own.sharded_weight + beside)
    return own
