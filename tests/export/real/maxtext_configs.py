"""Run by itself: MaxText's configuration of exported files, field by field, as JSON.

In: a list of mappings. Out, into the file that is named: each as MaxText's types parse it. PYTHONPATH has
maxtext; JAX, which no field needs, is mocked.
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


def read_config(config: dict[str, object]) -> dict[str, object]:
    values = {}
    for key, value in config.items():
        field = MaxTextConfig.model_fields[key]
        parsed = TypeAdapter(field.annotation).validate_python(value)
        values[key] = getattr(parsed, "value", parsed)
    return values


Path(sys.argv[1]).write_text(json.dumps([read_config(config) for config in json.load(sys.stdin)]))
