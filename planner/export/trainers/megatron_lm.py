"""Megatron-LM: `pretrain_gpt.py` and its arguments (megatron/training/arguments.py of core_v0.16.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.export import megatron
from planner.export.run import Run
from planner.export.shell import TRAIN, array, torchrun, train_script
from planner.export.trainer import Files, Own, Trainer

NAME = "megatron-lm"

_WORDS = {
    "num_moe_experts": "--num-experts",
    "fp8": "--fp8-format",
    "fp4": "--fp4-format",
    "virtual_pipeline_model_parallel_size": "--num-virtual-stages-per-pipeline-rank",
}
_SWITCHES: dict[tuple[str, megatron.Value], tuple[str, ...]] = {
    ("add_bias_linear", False): ("--disable-bias-linear",),
    ("gated_linear_unit", True): ("--swiglu",),
    ("grad_reduce_in_fp32", True): ("--accumulate-allreduce-grads-in-fp32",),
    ("grad_reduce_in_fp32", False): ("--grad-reduce-in-bf16",),
}
"""Arguments that are not the name of their field."""

_BODY = """
: "${MEGATRON_LM:?the folder of Megatron-LM, with pretrain_gpt.py}"
# Without arguments of your own (--data-path, --tokenizer-type, --save, ...) it runs on made-up data.
if (( $# == 0 )); then
  set -- --mock-data --tokenizer-type NullTokenizer --vocab-size %s
fi
exec "${torchrun[@]}" "$MEGATRON_LM/pretrain_gpt.py" \\
  "${model[@]}" "${parallel[@]}" "${training[@]}" "${yours[@]}" "$@"
"""


def options(fields: megatron.Fields) -> list[tuple[object, ...]]:
    """Fields of megatron-core's configuration as arguments, each with its values."""
    found: list[tuple[object, ...]] = []
    for name, value in fields.items():
        word = _WORDS.get(name, "--" + name.replace("_", "-"))
        if not isinstance(value, (list, tuple)) and (name, value) in _SWITCHES:
            found.append(_SWITCHES[name, value])
        elif name == "num_query_groups":
            found += [("--group-query-attention",), (word, value)]
        elif isinstance(value, bool):
            found += [(word,)] if value else []
        elif isinstance(value, tuple):
            found.append((word, ",".join(map(str, value))))
        elif isinstance(value, list):
            numbers = all(isinstance(one, int) for one in value)
            found.append((word, _pattern(value)) if numbers else (word, *value))
        else:
            found.append((word, value))
    return found


def _pattern(values: Sequence[object]) -> str:
    """A list as an expression: [0]*3+[1]*58."""
    runs: list[tuple[object, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    if len(runs) > 8:
        return str(list(values)).replace(" ", "")
    return "(" + "+".join(f"[{value}]*{count}" for value, count in runs) + ")"


def _model(run: Run) -> list[tuple[object, ...]]:
    """The model, after what megatron-core's configuration holds of it."""
    model = run.model
    assert model is not None
    positions = model.learned_positions
    found: list[tuple[object, ...]] = [
        ("--seq-length", run.seq_length),
        ("--max-position-embeddings", positions or run.seq_length),
        ("--position-embedding-type", "learned_absolute" if positions else "rope"),
    ]
    return found if model.tied_embeddings else [*found, ("--untie-embeddings-and-output-weights",)]


def _parallel(run: Run) -> list[tuple[object, ...]]:
    """How data-parallel ranks share the work, and the order of ranks."""
    found = options(megatron.ddp(run))
    if run.strategy.zero_stage > 1:
        found.append(("--ckpt-format", "fsdp_dtensor"))
    if run.settings.order == megatron.ORDERS[1]:
        found.append(("--use-tp-pp-dp-mapping",))
    if "optimizer" in run.settings.offload:
        found += [("--optimizer-cpu-offload",), ("--use-precision-aware-optimizer",)]
    return found


def _training(run: Run) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = [
        ("--micro-batch-size", run.strategy.micro_batch),
        ("--global-batch-size", run.global_batch),
        ("--train-iters", run.steps),
    ]
    if "cuda_graph_impl" in megatron.fields(run):
        found += [("--te-rng-tracker",), ("--no-check-for-nan-in-loss-and-grad",)]
    return found


def arguments(run: Run) -> dict[str, list[tuple[object, ...]]]:
    """All arguments that the plan decides, by the array that they stand in."""
    fields = megatron.fields(run)
    split = {name for name in fields if "parallel" in name or name in ("cp_comm_type", "tp_comm_overlap")}
    return {
        "model": [*options({k: v for k, v in fields.items() if k not in split}), *_model(run)],
        "parallel": [*options({k: v for k, v in fields.items() if k in split}), *_parallel(run)],
        "training": _training(run),
    }


def files(run: Run, own: Own) -> Files:
    """`train.sh` alone: every argument stands in it."""
    assert run.model is not None
    made = arguments(run)
    yours = [("--lr", "3.0e-4"), ("--min-lr", "3.0e-5"), ("--lr-decay-style", "cosine")]
    body = "".join(
        [
            torchrun(run),
            array("model", made["model"], "the model and its kernels"),
            array("parallel", made["parallel"], "the plan: how the work is split"),
            array("training", made["training"]),
            array("yours", yours, "of these the plan knows nothing: yours to choose"),
            # the made-up tokenizer counts its end-of-document sign beside the vocabulary
            _BODY % (run.model.vocab_size - 1),
        ]
    )
    return {TRAIN: train_script(run, NAME, own, body, megatron.variables(run))}


def notes(run: Run) -> Iterator[str]:
    """Those of megatron-core."""
    yield from megatron.notes(run)


TRAINER = Trainer(NAME, megatron.FRAMEWORKS, megatron.misfits, notes, files)
