"""What the user names, found: a model, a cluster, a batch, the allowed values of a dimension."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import gcd, prod
from pathlib import Path
from typing import TYPE_CHECKING

from planner.cli.io.files import is_existing_folder, is_existing_path, is_path_like, read_formatted_file
from planner.cli.io.output import warn
from planner.cluster.model.spec import MOST_DEVICES
from planner.errors import InputError, find_nearest_name
from planner.units import parse_count

if TYPE_CHECKING:
    from planner.cluster.model.cluster import Cluster
    from planner.cluster.model.spec import ClusterSpec
    from planner.hardware.accelerator import Accelerator
    from planner.workload.operator_list.spec import NetworkSpec
    from planner.workload.operators import Workload
    from planner.workload.spec import ModelSpec

_TOKENS_PATTERN = re.compile(r"(.*?)\s*tokens?", re.IGNORECASE)
_RANGE_PATTERN = re.compile(r"(\d{1,9}) ?\.\. ?(\d{1,9})")
_LENGTH_PATTERN = re.compile(r"(\d{1,9})\s*([kKmM])i?")
_MAX_RANGE_WIDTH = 100_000
"""Values that a range may have."""
_MAX_LISTED_VALUES = 1000
_MAX_COUNT_CHARS = 100
"""Characters: a pattern takes long over a megabyte of spaces."""
_SUSPICIOUS_SEQUENCES = 1_000_000
"""Sequences of a step above which tokens may have been meant."""
_LONG_SEQUENCE_TOKENS = 32_768
"""Tokens of a sequence above which it is said that the model's longest was taken."""

MAX_BATCH_SEQUENCES = 10**9
MAX_SEQUENCE_TOKENS = 2**24
MAX_RUN_TOKENS = 10**18
_NEAR_BATCH_REL_TOL = 0.05
"""Of a batch: how far another may be from it to be named instead."""
TRAINING_PRECISIONS = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4")
"""Number formats in which a model can be trained; the integer ones of a part are for inference."""


def read_model(name: str, seq_length: int | None) -> Workload:
    """A preset, a config.json (or its folder), a model file of one's own, or a bare size. Raises InputError."""
    from planner.workload.transformer import build_workload

    spec, note = read_model_spec(name, seq_length)
    return build_workload(spec, seq_length=seq_length, note=note)


def read_model_spec(name: str, seq_length: int | None) -> tuple[ModelSpec | NetworkSpec, str]:
    """The same model's description, and what was chosen for the user. Raises InputError, also for a sequence that
    the model cannot have.
    """
    from planner.workload.from_size import describe_size, looks_like_size, spec_of_size
    from planner.workload.presets import preset, preset_names
    from planner.workload.spec import ModelSpec

    known_names = preset_names()
    note = ""
    if not name.strip():
        raise InputError("no model is named", key="MODEL", value='""', expected=_EXPECTED_MODEL)
    if name.casefold() in known_names:
        spec = preset(name.casefold())
    elif is_existing_path(name) or is_path_like(name):
        spec, note = _read_model_file(Path(name), seq_length)
    elif looks_like_size(name):
        spec = spec_of_size(name)
        note = describe_size(spec)
    else:
        raise InputError(
            "unknown model",
            key="MODEL",
            value=name,
            expected=_EXPECTED_MODEL,
            suggestion=find_nearest_name(name, known_names),
        )
    if seq_length is not None and (not isinstance(spec, ModelSpec) or spec.vision is not None):
        expected = "left out: its list of operators or its image says how large a sample is"
        raise InputError(
            f"{spec.name} has no sequence to choose", key="--seq-length", value=seq_length, expected=expected
        )
    if not isinstance(spec, ModelSpec):
        return spec, note
    if seq_length is not None and spec.learned_positions and seq_length > spec.learned_positions:
        raise InputError(
            f"{spec.name} has learned positions for shorter sequences only",
            key="--seq-length",
            value=seq_length,
            expected=f"at most {spec.learned_positions}",
        )
    return spec, note


_EXPECTED_MODEL = "a preset (`planner models list`), a config.json, a model TOML, or a size such as 70B"


def _read_model_file(path: Path, seq_length: int | None) -> tuple[ModelSpec | NetworkSpec, str]:
    """The description in a file, and what was chosen for the user in reading it."""
    from planner.workload.huggingface.families import parse_huggingface
    from planner.workload.presets import read_spec

    file = path / "config.json" if is_existing_folder(path) else path
    text, file_format = read_formatted_file(file, (".json", ".toml"), "a config.json or its folder, or a model TOML")
    if file_format != "json":
        return read_spec(text, file_format, str(file)), ""
    spec = parse_huggingface(text, str(file), file.absolute().parent.name or file.stem)
    if seq_length is None and spec.seq_length > _LONG_SEQUENCE_TOKENS:
        note = f"sequence {spec.seq_length:,} is the longest that {file.name} allows; --seq-length chooses another"
        return spec, note
    return spec, ""


def read_cluster(
    name: str, nodes: int | None = None, devices: int | None = None, faults: Collection[str] = ()
) -> Cluster:
    """A preset or a cluster file, with the user's number of nodes or devices, and faults. Raises InputError."""
    from planner.cluster.build.resolve import resolve_cluster

    spec, origin = read_cluster_spec(name)
    if not faults:
        return resolve_cluster(spec, origin, nodes=nodes, devices=devices)
    from planner.cluster.wired.failed_parts import read_fault

    cluster_faults = tuple(read_fault(text) for text in faults)
    return resolve_cluster(spec, origin, nodes=nodes, devices=devices, faults=cluster_faults)


def is_preset_name(preset_type: str, name: str) -> bool:
    """Whether `name` is a preset, which goes before a file of this name; `preset_type`: "cluster", else of models."""
    from planner.hardware import database
    from planner.workload.presets import preset_names

    known_names = database.names("clusters") if preset_type == "cluster" else preset_names()
    return name.casefold() in map(str.casefold, known_names)


def is_cluster_name(name: str) -> bool:
    """Whether this is the name of a preset, or of a file."""
    return is_preset_name("cluster", name) or is_existing_path(name)


def read_cluster_spec(name: str) -> tuple[ClusterSpec, str]:
    """The description of a preset or in a cluster file, and where it is from. Raises InputError."""
    from planner.cluster.model import presets
    from planner.cluster.model.spec import parse_cluster
    from planner.hardware import database

    name_by_folded_name = {known_name.casefold(): known_name for known_name in database.names("clusters")}
    if not name.strip():
        expected = "a preset (`planner cluster list`) or a cluster file"
        raise InputError("no cluster is named", key="--cluster", value='""', expected=expected)
    if is_joined_presets(name):
        raise InputError("has two kinds of nodes", key="--cluster", value=name, expected="one kind; or ask `plan`")
    preset = name_by_folded_name.get(name.casefold(), "")
    if preset or not (is_existing_path(name) or is_path_like(name)):
        spec = presets.cluster_spec(preset or name)
        return spec, f"hardware_db/clusters/{spec.name}.toml"
    text, file_format = read_formatted_file(Path(name), (".toml", ".yaml", ".yml", ".json"), "a cluster file")
    return parse_cluster(text, file_format, name), name


def read_global_batch(text: str, seq_length: int) -> int:
    """Sequences of one step: a count, or tokens (`4M tokens`) in whole sequences. Raises InputError."""
    key = "--global-batch"
    match = _TOKENS_PATTERN.fullmatch(text) if len(text) <= _MAX_COUNT_CHARS else None
    if match is None:
        sequences = parse_count(text, key=key, maximum=MAX_BATCH_SEQUENCES, example="1024, or tokens: '4M tokens'")
        if sequences > _SUSPICIOUS_SEQUENCES:
            warn(f"{key} {text} counts {sequences:,} sequences; for tokens write '{text} tokens'")
        return sequences
    tokens = parse_count(match[1], key=key, maximum=MAX_RUN_TOKENS, example="4M tokens")
    sequences = round(tokens / seq_length)
    if not 1 <= sequences <= MAX_BATCH_SEQUENCES:
        problem = "too many tokens" if sequences else "too few tokens"
        expected = f"from 1 to {MAX_BATCH_SEQUENCES:,} sequences of {seq_length} tokens"
        raise InputError(problem, key=key, value=text, expected=expected)
    return sequences


def find_dp_width_hint(text: str, batch: int, devices: int, allowed_values: Mapping[str, tuple[int, ...]]) -> str:
    """What to say where tokens came to a batch that cuts the data-parallel width short, and a near one does not.

    `text` as the user wrote it, `allowed_values` the allowed values of each dimension. "" where there is nothing to
    say.
    """
    if "dp" in allowed_values or ".." in text or not _TOKENS_PATTERN.fullmatch(text):
        return ""
    # dp divides both the batch and what the other dimensions leave of the devices
    dp_limit = devices // prod(min(allowed_values.get(name, (1,))) for name in ("tp", "pp", "cp"))
    current_width, candidate_width = gcd(batch, dp_limit), dp_limit & -dp_limit
    while candidate_width > current_width:
        near_batch = round(batch / candidate_width) * candidate_width
        if abs(near_batch - batch) <= _NEAR_BATCH_REL_TOL * batch:
            return (
                f"--global-batch {text} is {batch:,} sequences, which no data-parallel width above {current_width:,} "
                f"divides; {near_batch:,} sequences would allow {candidate_width:,}"
            )
        candidate_width //= 2
    return ""


def read_global_batches(text: str, seq_length: int) -> tuple[int, ...]:
    """One batch, or of a range (`256..4096`, `1M..16M tokens`) its ends, the doublings of the lower one, and the
    powers of two between them: what many data-parallel widths divide. One end's unit is the other's too.
    """
    low, range_sign, high = text.partition("..")
    if not range_sign:
        return (read_global_batch(text, seq_length),)
    if not (low.strip() and high.strip()):
        raise InputError("not a range", key="--global-batch", value=text, expected="low..high")
    bounds = [low.strip(), high.strip()]
    are_tokens = [len(bound) <= _MAX_COUNT_CHARS and _TOKENS_PATTERN.fullmatch(bound) is not None for bound in bounds]
    if any(are_tokens):
        bounds = [
            bound if is_tokens else f"{bound} tokens" for bound, is_tokens in zip(bounds, are_tokens, strict=True)
        ]
    first, last = (read_global_batch(bound, seq_length) for bound in bounds)
    if first > last:
        raise InputError("not a range", key="--global-batch", value=text, expected="low..high")
    doublings = [base << power for base in (1, first) for power in range(last.bit_length())]
    return tuple(sorted({first, last, *(batch for batch in doublings if first < batch < last)}))


def read_seq_length(text: str | None) -> int | None:
    """Tokens of a sequence: `8192` or `8K`, where K and M are binary. Raises InputError."""
    if text is None:
        return None
    match = _LENGTH_PATTERN.fullmatch(text.strip())
    if match:
        text = str(int(match[1]) * (1024 if match[2] in "kK" else 1024**2))
    return parse_count(text, key="--seq-length", maximum=MAX_SEQUENCE_TOKENS, example="8192 or 8K")


def read_whole_number(text: str | None, key: str, *, minimum: int = 1, maximum: int = MOST_DEVICES) -> int | None:
    """One whole number, or None where nothing was given. Raises InputError."""
    return None if text is None else parse_count(text, key=key, minimum=minimum, maximum=maximum)


def read_run_tokens(text: str | None) -> int | None:
    """Tokens of the whole run, or None where nothing was given. Raises InputError."""
    if text is None:
        return None
    return parse_count(text, key="--tokens", maximum=MAX_RUN_TOKENS, example="15T")


def read_precision(text: str | None, accelerator: Accelerator) -> str | None:
    """A number format that the part has a peak for and that models are trained in. Raises InputError."""
    if text is None:
        return None
    name = text.casefold()
    known_precisions = [precision for precision in TRAINING_PRECISIONS if precision in accelerator.peak_flops]
    if name in known_precisions:
        return name
    problem = f"{accelerator.name} states no dense peak for this precision"
    if name in accelerator.peak_flops:
        problem = "models are not trained in this precision"
    expected = f"one of {', '.join(known_precisions)}"
    raise InputError(
        problem,
        key="--precision",
        value=text,
        expected=expected,
        suggestion=find_nearest_name(name, known_precisions),
    )


def read_allowed_values(
    text: str | None, key: str, *, minimum: int = 1, maximum: int = MOST_DEVICES
) -> tuple[int, ...] | None:
    """Allowed values of a dimension: `8`, `4,8`, `4..8` or a mixture. None where nothing was given."""
    if text is None:
        return None
    values: set[int] = set()
    example = "8 or 4,8 or 4..8" if minimum <= 4 and maximum >= 8 else ""
    if text.count(",") >= _MAX_LISTED_VALUES:
        raise InputError(
            "too many values", key=key, value=text, expected=f"at most {_MAX_LISTED_VALUES:,}, or a range"
        )
    for part in (part.strip() for part in text.split(",")):
        match = _RANGE_PATTERN.fullmatch(part)
        if not match and ".." not in part:
            values.add(parse_count(part, key=key, minimum=minimum, maximum=maximum, example=example))
            continue
        low, high = (int(match[1]), int(match[2])) if match else (1, 0)
        if low > high or high - low + len(values) > _MAX_RANGE_WIDTH:
            raise InputError("not a range", key=key, value=part, expected="low..high, at most 100,000 wide")
        if low < minimum or high > maximum:
            raise InputError("out of range", key=key, value=part, expected=f"from {minimum} to {maximum:,}")
        values.update(range(low, high + 1))
    return tuple(sorted(values))


def read_listed_values(text: str | None) -> tuple[int, ...]:
    """The values that were named one by one (`4,8,4..8`: 4 and 8), where there are several."""
    if text is None or "," not in text:
        return ()
    return tuple(parse_count(part.strip()) for part in text.split(",") if ".." not in part)


def read_named_values(text: str | None, key: str, known_names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Allowed values of a dimension with names, as their codes. Raises InputError with the nearest name."""
    if text is None:
        return None
    codes = []
    for part in (part.strip().casefold() for part in text.split(",")):
        if part not in known_names:
            raise InputError(
                "unknown value",
                key=key,
                value=part,
                expected=f"one or more of {', '.join(known_names)}",
                suggestion=find_nearest_name(part, known_names),
            )
        codes.append(known_names.index(part))
    return tuple(sorted(set(codes)))


if TYPE_CHECKING:
    pass


def is_joined_presets(name: str) -> bool:
    """Whether `name` joins presets: `dgx-h100:32+dgx-a100:32`."""
    return "+" in name and not (is_existing_path(name) or is_path_like(name))
