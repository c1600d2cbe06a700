"""Run by itself: the models that MaxText builds of exported files, without memory for their parameters, as JSON.

In: a list of the words that `train.sh` runs MaxText with. Out, into the file that is named: the values of each
configuration and the number of parameters. PYTHONPATH has maxtext.
"""

import json
import sys
from pathlib import Path

import jax
import jax.experimental.xla_metadata
import numpy as np
from flax import nnx
from flax.linen import partitioning
from jax.sharding import Mesh
from stand_ins import StandIn

# data, checkpoints and tools, which no layer needs; mhc is written for Python 3.12
PACKAGES = (
    *("grain", "tensorflow", "tensorflow_datasets", "datasets", "pathwaysutils", "ml_goodput_measurement", "PIL"),
    *("cloud_tpu_diagnostics", "google_cloud_mldiagnostics", "google.cloud", "drjax", "sentencepiece", "tiktoken"),
    *("tokamax", "jaxtyping", "maxtext.kernels.mhc"),
)
sys.meta_path.insert(0, StandIn(PACKAGES))
# of a newer JAX, for kernels of TPUs
jax.experimental.xla_metadata.must_fuse_call = lambda function=None, **_: function

from maxtext.common.common_types import MODEL_MODE_TRAIN  # noqa: E402
from maxtext.configs import pyconfig  # noqa: E402
from maxtext.models.models import Transformer  # noqa: E402
from maxtext.utils import max_utils  # noqa: E402

max_utils.maybe_initialize_jax_distributed_system = lambda *_: None
ONE_DEVICE = ("hardware=cpu", "attention=dot_product")


def read_model(words: list[str]) -> dict[str, object]:
    axes = [f"{word}=1" for word in ("ici_data_parallelism", "ici_fsdp_parallelism", "ici_context_parallelism")]
    config = pyconfig.initialize(["train.py", *words, *ONE_DEVICE, *axes])
    mesh = Mesh(np.array(jax.devices()[:1]).reshape([1] * len(config.mesh_axes)), config.mesh_axes)
    with mesh, partitioning.axis_rules(config.logical_axis_rules):
        model = nnx.eval_shape(
            lambda: Transformer(
                config, mesh, quant=None, model_mode=MODEL_MODE_TRAIN, rngs=nnx.Rngs(params=0, dropout=1)
            )
        )
    shapes = [leaf.shape for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]
    keys = {key: getattr(value, "value", value) for key, value in config.get_keys().items()}
    values = {key: value for key, value in keys.items() if isinstance(value, (str, int, float, list))}
    return {"parameters": sum(int(np.prod(shape, dtype=object)) for shape in shapes), "values": values}


Path(sys.argv[1]).write_text(json.dumps([read_model(words) for words in json.load(sys.stdin)], default=str))
