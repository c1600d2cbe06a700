"""Run by itself: MaxText's configuration of exported files, field by field, told as JSON.

In: a list of mappings. Out, into the file that is named: for each what MaxText's types make of it. PYTHONPATH has
maxtext; JAX, which no field needs, is stood in for.
"""

import json
import sys
from pathlib import Path
from unittest.mock import MagicMock

for name in ("jax", "jax.numpy", "jax.sharding", "jax.ad_checkpoint", "flax", "flax.linen", "flax.struct"):
    sys.modules[name] = MagicMock()
for name in ("gcs_utils", "max_utils", "elastic_utils", "accelerator_to_spec_map"):
    sys.modules[f"maxtext.utils.{name}"] = MagicMock()

from maxtext.configs.types import MaxTextConfig  # noqa: E402
from pydantic import TypeAdapter  # noqa: E402


def read(config: dict[str, object]) -> dict[str, object]:
    found = {}
    for key, value in config.items():
        field = MaxTextConfig.model_fields[key]
        made = TypeAdapter(field.annotation).validate_python(value)
        found[key] = getattr(made, "value", made)
    return found


Path(sys.argv[1]).write_text(json.dumps([read(config) for config in json.load(sys.stdin)]))
