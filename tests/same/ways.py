"""Circumstances that must make no difference: seeds, threads, cores, places, languages, Pythons, libraries."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Way:
    """One circumstance of a `kind`. `bin`: the folder of the programs; `cores`: as taskset writes them, where said;
    `variables`: of the environment, None for one that is taken away; `folder`: where it is run, below another.
    """

    kind: str
    bin: Path
    cores: str = ""
    variables: Mapping[str, str | None] = field(default_factory=dict)
    umask: int = 0o022
    folder: str = "here"


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
OLD_CPU = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR AVX2 FMA3 AVX512F AVX512CD AVX512_SKX",
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F",
}
"""What numpy, its BLAS and the C library are not to find in a processor, by old names and new."""


def usual(folder: Path) -> Way:
    """How the answer is made that all others are held against."""
    return Way("again", folder, variables={"PYTHONHASHSEED": "0"})


def ways(own: Path, others: Mapping[str, Path]) -> list[Way]:
    """All ways of the programs in `own`, and three of each of the others, by what differs in them."""
    return [
        *[usual(own)] * 2,
        *(Way("hash seed", own, variables={"PYTHONHASHSEED": seed}) for seed in ("1", "2", "4294967295", "random")),
        *(Way("threads", own, variables=dict.fromkeys(_THREADS, count)) for count in "12"),
        *(Way("cores", own, cores=cores) for cores in ("0", "0,1") if shutil.which("taskset")),
        *(Way("language", own, variables={"LC_ALL": one}) for one in ("C", "C.UTF-8", "POSIX", *_languages())),
        *(Way("time", own, variables={"TZ": zone}) for zone in ("Pacific/Kiritimati", "America/St_Johns")),
        Way("place", own, folder="a b/\N{LATIN SMALL LETTER E WITH ACUTE} %s"),
        Way("place", own, variables={"HOME": None, "TMPDIR": "/dev/shm"}, umask=0o077),
        Way("place", own, variables={"HOME": "/nonexistent", "USER": None, "PWD": "/", "SHELL": None}, umask=0),
        Way("terminal", own, variables={"COLUMNS": "40", "LINES": "5", "TERM": "dumb"}),
        Way("terminal", own, variables={"COLUMNS": "500", "TERM": "xterm-256color", "FORCE_COLOR": "1"}),
        Way("Python -O", own, variables={"PYTHONOPTIMIZE": "1", "PYTHONDONTWRITEBYTECODE": "1"}),
        Way("old CPU", own, variables=OLD_CPU),
        *(
            Way(name, folder, variables={"PYTHONHASHSEED": seed})
            for name, folder in others.items()
            for seed in ("0", "3", "random")
        ),
    ]


def _languages() -> list[str]:
    """Locales of this machine in which letters or numbers are written otherwise."""
    there = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.split()
    return [one for one in there if one.lower() in ("tr_tr.utf8", "de_de.utf8")]
