"""Run by itself: Megatron-LM's parser and checks on the arguments of several runs, as JSON.

In: a list of {words, env, devices}. Out, into the file that is named: a list of the arguments that are plain values
or number formats. The configurations of model and optimizer are made of them too, as training does: they check more.
PYTHONPATH begins with a copy of Megatron-LM. No GPU is needed: queries of its properties return those of a Hopper
GPU, and kernels are not built; Transformer Engine's optimizer is a stand-in, and its version 2.12.
"""

import dataclasses
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

sys.modules["megatron.core.transformer.custom_layers.batch_invariant_kernels"] = MagicMock()

import torch  # noqa: E402
from megatron.core.optimizer.optimizer_config import AdamOptimizerConfig  # noqa: E402
from megatron.core.utils import PkgVersion  # noqa: E402
from megatron.training.arguments import core_transformer_config_from_args, parse_args, validate_args  # noqa: E402
from stand_ins import FusedAdam, put_stand_ins  # noqa: E402

OPTIMIZERS = {"transformer_engine.pytorch.optimizers": SimpleNamespace(FusedAdam=FusedAdam)}


def main() -> None:
    parsed = []
    out = sys.argv[1]
    for run in json.load(sys.stdin):
        variables = {**run["env"], "WORLD_SIZE": str(run["devices"]), "RANK": "1"}
        with (
            patch.dict(os.environ, variables),
            patch.object(sys, "argv", ["pretrain_gpt.py", *run["words"]]),
            patch("megatron.core.utils.get_te_version", lambda: PkgVersion("2.12.0")),
            redirect_stdout(sys.stderr),
        ):
            args = parse_args()
            validate_args(args)
            make_configs(args)
        values = {name: str(v) if isinstance(v, torch.dtype) else v for name, v in vars(args).items()}
        parsed.append({name: v for name, v in values.items() if v is None or isinstance(v, (bool, int, float, str))})
    Path(out).write_text(json.dumps(parsed))


def make_configs(args) -> None:  # type: ignore[no-untyped-def]
    with patch.object(args, "apply_rope_fusion", False):  # a kernel of Transformer Engine
        core_transformer_config_from_args(args)
    names = [field.name for field in dataclasses.fields(AdamOptimizerConfig) if hasattr(args, field.name)]
    with (
        patch.dict(sys.modules, OPTIMIZERS),  # type: ignore[arg-type]
        patch("megatron.core.optimizer.optimizer_config.is_te_min_version", lambda *_: True),
    ):
        AdamOptimizerConfig(**{name: getattr(args, name) for name in names})


put_stand_ins()
main()
