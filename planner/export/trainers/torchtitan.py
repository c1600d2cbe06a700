"""torchtitan: a module with its configuration (torchtitan 0.3, `torchtitan.train --module ... --config ...`).

ZeRO 3 and 2 are FSDP2, with and without resharding after the forward pass; hybrid sharding is its replicate degree.
"""

from __future__ import annotations

from collections.abc import Iterator

from planner.export import fsdp
from planner.export.run import Run
from planner.export.shell import TRAIN, torchrun, train_script
from planner.export.trainer import (
    Files,
    Misfit,
    Own,
    Trainer,
    above_one,
    among,
    decoder,
    on,
    ordered,
)
from planner.export.trainers import torchtitan_file
from planner.workload.spec import ModelSpec

NAME = "torchtitan"
MODULE = torchtitan_file.MODULE

_BODY = f"""export PYTHONPATH="$here${{PYTHONPATH:+:$PYTHONPATH}}"
exec "${{torchrun[@]}}" -m torchtitan.train --module {MODULE} --config plan "$@"
"""


def misfits(run: Run) -> Iterator[Misfit]:
    """What its configuration has no words for."""
    one, settings = run.strategy, run.settings
    yield from decoder(run)
    yield from on(run, ("NVIDIA gpu", "AMD gpu"))
    yield from above_one(run, ("tp", "pp", "cp", "ep", "vpp"))
    yield from among("precision", run.precision, ("bf16", "fp8", "mxfp8", "nvfp4", "fp32"))
    if run.model is not None and not torchtitan_file.flavour(run.model):
        yield from _model_misfits(run.model)
    if one.zero_stage < 2 and one.dp * one.cp > 1:
        yield Misfit("zero_stage", one.zero_stage, "zero_stage 2 or 3")
    if one.etp > 1:
        yield Misfit("etp", one.etp, "etp 1")
    yield from fsdp.some_layers(run)
    if one.cp > 1:
        yield from among("cp_exchange", settings.cp_exchange, ("all-gather",))
    if run.attention == "unfused":
        yield Misfit("attention", "unfused", "attention flash")
    yield from ordered(run, ("tp-cp-dp-pp",))
    yield from _sharding_misfits(run)


def _sharding_misfits(run: Run) -> Iterator[Misfit]:
    one, settings = run.strategy, run.settings
    yield from fsdp.exposed(run)
    yield from among("gradients", settings.gradients, ("fp32",))
    yield from fsdp.half_offloaded(run)
    group = settings.shard_group
    if group is not None and (group % one.cp or one.dp % (group // one.cp)):
        yield Misfit("shard_group", group, "shard_group all, or cp times a divisor of dp")
    if settings.schedule == "zero-bubble" and one.pp == 1:
        yield Misfit("schedule", "zero-bubble", "schedule 1f1b")


def _model_misfits(model: ModelSpec) -> Iterator[Misfit]:
    """A model that is neither one of torchtitan's own nor a Llama."""
    plain = ModelSpec(name="", hidden_size=1, layers=1, heads=1, ffn_size=1, gated_mlp=True, norm="rmsnorm")
    shape = ("name", "title", "hidden_size", "layers", "heads", "kv_heads", "head_dim", "ffn_size", "vocab_size")
    free = (*shape, "seq_length", "tied_embeddings", "qk_norm", "norm_bias", "published")
    for name in ModelSpec.__struct_fields__:
        if name not in free and getattr(model, name) != getattr(plain, name):
            value = getattr(model, name)
            told = value if isinstance(value, (int, str)) else "there is one"
            yield Misfit(f"model.{name}", told, "the parts of Llama, or a model that torchtitan has itself")


def notes(run: Run) -> Iterator[str]:
    """What is run otherwise than planned, without harm to the result."""
    if run.settings.communication == "bf16":
        yield "gradients are sent in fp32, where the plan has bf16: it takes longer than planned"
    yield from fsdp.compiled_note(run)


def files(run: Run, own: Own) -> Files:
    """The module, and `train.sh` that runs torchtitan with it."""
    body = torchrun(run) + _BODY
    return {f"{MODULE}.py": torchtitan_file.text(run), TRAIN: train_script(run, NAME, own, body)}


TRAINER = Trainer(NAME, ("fsdp2",), misfits, notes, files)
