"""The arguments that a script passes to a program: the script is run with a program that writes them to a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

KERNEL_VARIABLES = ("CUDA_DEVICE_MAX_CONNECTIONS", "NVTE_CPU_OFFLOAD_V1")
"""Variables that megatron-core's programs check."""
_PROGRAM = """#!{python}
import json, os, sys
names = ("PYTHONPATH", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", *{kernels!r})
captured = {{"words": sys.argv[1:], "env": {{k: os.environ[k] for k in names if k in os.environ}}}}
json.dump(captured, open({out!r}, "w"))
"""


def capture_arguments(
    program: str, script: Path, *arguments: str, **variables: str
) -> tuple[list[str], dict[str, str]]:
    """Words and environment that `script` runs `program` with, on node 0."""
    folder = script.parent / "bin"
    folder.mkdir(exist_ok=True)
    out = folder / f"{program}.json"
    file = folder / program
    file.write_text(_PROGRAM.format(python=sys.executable, kernels=KERNEL_VARIABLES, out=str(out)))
    file.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "NODE_RANK": "0", "MASTER_ADDR": "here", **variables}
    done = subprocess.run(
        ["bash", str(script), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    captured = json.loads(out.read_text())
    return captured["words"], captured["env"]
