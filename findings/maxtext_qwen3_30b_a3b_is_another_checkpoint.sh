#!/usr/bin/env bash
# maxtext 0.2.5, aiconfigurator-core 0.12.0 (for copies of config.json)
#
# The preset qwen3-30b-a3b does not rotate like the published model of that name: its base is ten times that of
# Qwen/Qwen3-30B-A3B's config.json. qwen3-235b-a22b has five times the base. It is no misprint: a table of the same
# package gives both names to the Thinking-2507 checkpoints, which are for longer contexts. Another table, for vLLM, gives
# the two names to the first checkpoints all the same. qwen3-30b-a3b-base has the first base.
#
# Expected before running: a preset with a model's name has that model's base, and one name is one checkpoint.
#
# Output (base of the preset, base in config.json):
#   qwen3-30b-a3b: 10000000, Qwen3-30B-A3B: 1000000
#     utils/globals.py: Qwen/Qwen3-30B-A3B-Thinking-2507
#     validate_converter.py: Qwen/Qwen3-30B-A3B
#   qwen3-235b-a22b: 5000000, Qwen3-235B-A22B: 1000000
#     utils/globals.py: Qwen/Qwen3-235B-A22B-Thinking-2507
#     validate_converter.py: Qwen/Qwen3-235B-A22B
#   qwen3-30b-a3b-base: 1000000
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/env"
{
    "$dir/env/bin/pip" install -q pyyaml==6.0.4
    "$dir/env/bin/pip" install -q --no-deps --ignore-requires-python --no-compile --target "$dir/read" \
        maxtext==0.2.5 aiconfigurator-core==0.12.0
} 2>"$dir/pip.log" || { cat "$dir/pip.log" >&2; exit 1; }
cat >"$dir/run.py" <<'PYTHON'
import ast
import json
import sys
from pathlib import Path

import yaml

READ = Path(sys.argv[1])
TABLES = ("utils/globals.py", "integration/vllm/validate_converter.py")


def find_checkpoint(path, preset):
    for node in ast.walk(ast.parse((READ / "maxtext" / path).read_text())):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if isinstance(key, ast.Constant) and key.value == preset and isinstance(value, ast.Constant):
                    return value.value
    raise LookupError(f"{path} has no {preset}")


def read_base(preset):
    text = (READ / f"maxtext/configs/models/{preset}.yml").read_text()
    return int(yaml.safe_load(text)["rope_max_timescale"])


for preset, name in (("qwen3-30b-a3b", "Qwen3-30B-A3B"), ("qwen3-235b-a22b", "Qwen3-235B-A22B")):
    published = json.loads((READ / f"aiconfigurator_core/model_configs/Qwen--{name}_config.json").read_text())
    print(f"{preset}: {read_base(preset)}, {name}: {int(published['rope_theta'])}")
    for path in TABLES:
        print(f"  {path if path.startswith('utils') else Path(path).name}: {find_checkpoint(path, preset)}")
print(f"qwen3-30b-a3b-base: {read_base('qwen3-30b-a3b-base')}")
PYTHON
"$dir/env/bin/python" "$dir/run.py" "$dir/read" | tee "$dir/seen"
sed -n '/^# Output/,/^set /s/^#   //p' "$0" | diff - "$dir/seen"
