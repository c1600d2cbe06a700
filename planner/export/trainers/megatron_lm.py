"""Megatron-LM: `pretrain_gpt.py` and its arguments (megatron/training/arguments.py of core_v0.16.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.export import megatron
from planner.export.run import PlannedRun
from planner.export.shell import TRAIN_SCRIPT, format_bash_array, format_torchrun_array, render_train_script
from planner.export.trainer import FileTexts, TrainerExport, UserExtras

NAME = "megatron-lm"

_OPTION_NAMES = {
    "num_moe_experts": "--num-experts",
    "fp8": "--fp8-format",
    "fp4": "--fp4-format",
    "virtual_pipeline_model_parallel_size": "--num-virtual-stages-per-pipeline-rank",
}
_SPECIAL_OPTIONS: dict[tuple[str, megatron.ConfigValue], tuple[str, ...]] = {
    ("add_bias_linear", False): ("--disable-bias-linear",),
    ("gated_linear_unit", True): ("--swiglu",),
    ("grad_reduce_in_fp32", True): ("--accumulate-allreduce-grads-in-fp32",),
    ("grad_reduce_in_fp32", False): ("--grad-reduce-in-bf16",),
}
"""Arguments whose name differs from their field."""

_LAUNCH_TEMPLATE = """
: "${MEGATRON_LM:?the folder of Megatron-LM, with pretrain_gpt.py}"
# Without arguments of your own (--data-path, --tokenizer-type, --save, ...) it runs on synthetic data.
if (( $# == 0 )); then
  set -- --mock-data --tokenizer-type NullTokenizer --vocab-size %s
fi
exec "${torchrun[@]}" "$MEGATRON_LM/pretrain_gpt.py" \\
  "${model[@]}" "${parallel[@]}" "${training[@]}" "${yours[@]}" "$@"
"""


def build_field_options(fields: megatron.ConfigFields) -> list[tuple[object, ...]]:
    """Fields of megatron-core's configuration as arguments, each with its values."""
    option_list: list[tuple[object, ...]] = []
    for name, value in fields.items():
        option_name = _OPTION_NAMES.get(name, "--" + name.replace("_", "-"))
        if not isinstance(value, (list, tuple)) and (name, value) in _SPECIAL_OPTIONS:
            option_list.append(_SPECIAL_OPTIONS[name, value])
        elif name == "num_query_groups":
            option_list += [("--group-query-attention",), (option_name, value)]
        elif isinstance(value, bool):
            option_list += [(option_name,)] if value else []
        elif isinstance(value, tuple):
            option_list.append((option_name, ",".join(map(str, value))))
        elif isinstance(value, list):
            all_integers = all(isinstance(item, int) for item in value)
            option_list.append(
                (option_name, _format_list_expression(value)) if all_integers else (option_name, *value)
            )
        else:
            option_list.append((option_name, value))
    return option_list


def _format_list_expression(values: Sequence[object]) -> str:
    """A list as an expression such as [0]*3+[1]*58."""
    repeats: list[tuple[object, int]] = []
    for value in values:
        if repeats and repeats[-1][0] == value:
            repeats[-1] = (value, repeats[-1][1] + 1)
        else:
            repeats.append((value, 1))
    if len(repeats) > 8:
        return str(list(values)).replace(" ", "")
    return "(" + "+".join(f"[{value}]*{count}" for value, count in repeats) + ")"


def _build_model_options(run: PlannedRun) -> list[tuple[object, ...]]:
    """Arguments of the model that are not in megatron-core's configuration."""
    model = run.model
    assert model is not None
    learned_positions = model.learned_positions
    model_options: list[tuple[object, ...]] = [
        ("--seq-length", run.seq_length),
        ("--max-position-embeddings", learned_positions or run.seq_length),
        ("--position-embedding-type", "learned_absolute" if learned_positions else "rope"),
    ]
    return model_options if model.tied_embeddings else [*model_options, ("--untie-embeddings-and-output-weights",)]


def _build_parallel_options(run: PlannedRun) -> list[tuple[object, ...]]:
    """Arguments of data parallelism, and the order of ranks."""
    parallel_options = build_field_options(megatron.build_ddp_config(run))
    if run.strategy.zero_stage > 1:
        parallel_options.append(("--ckpt-format", "fsdp_dtensor"))
    if run.settings.order == megatron.MEGATRON_RANK_ORDERS[1]:
        parallel_options.append(("--use-tp-pp-dp-mapping",))
    if "optimizer" in run.settings.offload:
        parallel_options += [("--optimizer-cpu-offload",), ("--use-precision-aware-optimizer",)]
    return parallel_options


def _build_training_options(run: PlannedRun) -> list[tuple[object, ...]]:
    training_options: list[tuple[object, ...]] = [
        ("--micro-batch-size", run.strategy.micro_batch),
        ("--global-batch-size", run.global_batch),
        ("--train-iters", run.steps),
    ]
    if "cuda_graph_impl" in megatron.build_transformer_config(run):
        training_options += [("--te-rng-tracker",), ("--no-check-for-nan-in-loss-and-grad",)]
    return training_options


def build_megatron_lm_arguments(run: PlannedRun) -> dict[str, list[tuple[object, ...]]]:
    """All arguments that the plan determines, by the array of the script."""
    fields = megatron.build_transformer_config(run)
    parallel_fields = {name for name in fields if "parallel" in name or name in ("cp_comm_type", "tp_comm_overlap")}
    return {
        "model": [
            *build_field_options({k: v for k, v in fields.items() if k not in parallel_fields}),
            *_build_model_options(run),
        ],
        "parallel": [
            *build_field_options({k: v for k, v in fields.items() if k in parallel_fields}),
            *_build_parallel_options(run),
        ],
        "training": _build_training_options(run),
    }


def build_megatron_lm_files(run: PlannedRun, extras: UserExtras) -> FileTexts:
    """`train.sh`, which contains every argument."""
    assert run.model is not None
    option_arrays = build_megatron_lm_arguments(run)
    user_options = [("--lr", "3.0e-4"), ("--min-lr", "3.0e-5"), ("--lr-decay-style", "cosine")]
    body = "".join(
        [
            format_torchrun_array(run),
            format_bash_array("model", option_arrays["model"], "the model and its kernels"),
            format_bash_array(
                "parallel", option_arrays["parallel"], "the plan: parallelism, batch and recomputation"
            ),
            format_bash_array("training", option_arrays["training"]),
            format_bash_array("yours", user_options, "the plan does not determine these: choose them"),
            # the null tokenizer adds its end-of-document token to the vocabulary
            _LAUNCH_TEMPLATE % (run.model.vocab_size - 1),
        ]
    )
    return {TRAIN_SCRIPT: render_train_script(run, NAME, extras, body, megatron.build_megatron_environment(run))}


def build_megatron_lm_notes(run: PlannedRun) -> Iterator[str]:
    """Settings that megatron-core does not support."""
    yield from megatron.build_megatron_core_notes(run)


TRAINER = TrainerExport(
    NAME,
    megatron.find_unsupported_by_megatron_core,
    build_megatron_lm_notes,
    build_megatron_lm_files,
)
