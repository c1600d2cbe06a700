"""Run by itself: Megatron-LM's parser and checks on the arguments of several runs, as JSON.

In: a list of {words, env, devices}. Out, into the file that is named: a list of the arguments that are plain values.
PYTHONPATH begins with a copy of Megatron-LM. No GPU is needed: queries of its properties return those of a Hopper
GPU, and kernels are not built.
"""

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

sys.modules["megatron.core.transformer.custom_layers.batch_invariant_kernels"] = MagicMock()

import torch  # noqa: E402
from megatron.training.arguments import parse_args, validate_args  # noqa: E402

torch.cuda.get_device_properties = lambda *_: SimpleNamespace(major=9, minor=0, multi_processor_count=132)  # type: ignore[assignment,return-value]
torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]


def main() -> None:
    parsed = []
    out = sys.argv[1]
    for run in json.load(sys.stdin):
        variables = {**run["env"], "WORLD_SIZE": str(run["devices"]), "RANK": "1"}
        with (
            patch.dict(os.environ, variables),
            patch.object(sys, "argv", ["pretrain_gpt.py", *run["words"]]),
            redirect_stdout(sys.stderr),
        ):
            args = parse_args()
            validate_args(args)
        parsed.append(
            {name: v for name, v in vars(args).items() if v is None or isinstance(v, (bool, int, float, str))}
        )
    Path(out).write_text(json.dumps(parsed))


main()
