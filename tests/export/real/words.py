"""What a script hands to a program: the script is run, the program is one that writes its arguments down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = """#!{python}
import json, os, sys
names = ("PYTHONPATH", "CUDA_DEVICE_MAX_CONNECTIONS", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
told = {{"words": sys.argv[1:], "env": {{k: os.environ[k] for k in names if k in os.environ}}}}
json.dump(told, open({where!r}, "w"))
"""


def handed_to(program: str, script: Path, *arguments: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    """Words and environment that `script` runs `program` with, on node 0."""
    folder = script.parent / "bin"
    folder.mkdir(exist_ok=True)
    where = folder / f"{program}.json"
    file = folder / program
    file.write_text(_PROGRAM.format(python=sys.executable, where=str(where)))
    file.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "NODE_RANK": "0", "MASTER_ADDR": "here", **variables}
    done = subprocess.run(
        ["bash", str(script), *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(where.read_text())
    return told["words"], told["env"]
