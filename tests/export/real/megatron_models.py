"""Run by itself: models that Megatron-LM builds of the arguments of several runs, on the meta device, as JSON.

In: a list of {words, env, devices}. Out, into the file that is named: for each the parameters of the model, and
the frequencies of its rotary positions. PYTHONPATH begins with a copy of Megatron-LM. Layers are plain PyTorch's
(`--transformer-impl local`), experts one by one: neither changes a parameter.
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

torch.cuda.get_device_properties = lambda *_: SimpleNamespace(major=9, minor=0, multi_processor_count=132)  # type: ignore[assignment,return-value]
torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]
torch.cuda.Stream = MagicMock  # type: ignore[misc,assignment]
torch.cuda.current_device = lambda: "cpu"  # type: ignore[assignment,return-value]

from gpt_builders import gpt_builder  # noqa: E402
from megatron.core import parallel_state  # noqa: E402
from megatron.core.transformer import multi_latent_attention  # noqa: E402
from megatron.core.transformer.dot_product_attention import DotProductAttention  # noqa: E402
from megatron.core.transformer.enums import AttnBackend  # noqa: E402
from megatron.training.arguments import parse_args, validate_args  # noqa: E402
from megatron.training.global_vars import set_args  # noqa: E402
from megatron.training.tokenizer.tokenizer import _vocab_size_with_padding  # noqa: E402

plain_attention = DotProductAttention.__init__


def build_attention(self: DotProductAttention, *args: object, **arguments: object) -> None:
    """Without the widths of latent attention, which the plain kernel, that has no parameters, does not take."""
    plain_attention(
        self, *args, **{key: v for key, v in arguments.items() if key not in ("k_channels", "v_channels")}
    )


DotProductAttention.__init__ = build_attention
multi_latent_attention.HAVE_TE = False
LOCAL = (
    "--transformer-impl",
    "local",
    "--use-cpu-initialization",
    "--no-initialization",
    "--no-persist-layer-norm",
    "--no-rope-fusion",
    "--no-gradient-accumulation-fusion",
)


def build(run: dict[str, object]) -> dict[str, object]:
    variables = {**run["env"], "WORLD_SIZE": str(run["devices"]), "RANK": "1"}  # type: ignore[dict-item]
    words = ["pretrain_gpt.py", *run["words"], *LOCAL]  # type: ignore[misc]
    with patch.dict(os.environ, variables), patch.object(sys, "argv", words), redirect_stdout(sys.stderr):
        args = parse_args()
        validate_args(args)
        args.moe_grouped_gemm, args.attention_backend = False, AttnBackend.local
        # the null tokenizer's words and its end of a document
        args.padded_vocab_size = _vocab_size_with_padding(args.vocab_size + 1, args)
        set_args(args)
        with torch.device("meta"):
            model = gpt_builder(args, True, True)
    rotary = getattr(model, "rotary_pos_emb", None)
    latent = [m for m in model.modules() if type(m).__name__ == "YarnRotaryEmbedding"]
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "frequencies": None if rotary is None else rotary.inv_freq.tolist(),
        "yarn": [latent[0].inv_freq_inter.tolist(), latent[0].inv_freq_extra.tolist()] if latent else None,
        "epsilons": sorted({m.eps for m in model.modules() if hasattr(m, "eps")}),
    }


def main() -> None:
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    Path(sys.argv[1]).write_text(json.dumps([build(run) for run in json.load(sys.stdin)]))


out = sys.argv[1]
main()
