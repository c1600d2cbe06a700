"""What a run has by default: of its program, or of the program that its kind of plans is usually run by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.trainers.names import ProgramName
from planner.trainers.registry import PROGRAMS_BY_NAME
from planner.trainers.trainer import Trainer


@dataclass(frozen=True)
class RunDefaults:
    """Defaults of a run. `source`: the program or the kind of plans whose they are; `settings`: by setting, the name
    of its value.
    """

    source: str
    recompute: str
    zero_stage: int
    degrees: Mapping[str, str]
    is_sequence_parallel: bool
    """Where tensor parallelism is above 1."""
    settings: Mapping[str, str]

    def get_degree(self, name: str) -> int:
        """A degree that nobody gave: 1 where the defaults leave it to the user, or have that of another degree."""
        text = self.degrees.get(name, "1")
        return int(text) if text.isdecimal() else 1


_OTHER_KEYS = ("recompute", "zero_stage", "seq_parallel")
_DEGREES = ("tp", "pp", "vpp", "cp", "ep", "etp")


def find_run_defaults(trainer: Trainer, programs: Sequence[ProgramName]) -> RunDefaults:
    """The defaults of the only one of `programs`, which may run the plan; of several the usual one's of the trainer.

    Kinds of plans that shard weights (ZeRO 2 and 3) have their own stage, whatever program runs them.
    """
    name = programs[0] if len(programs) == 1 else trainer.usual_program
    values = PROGRAMS_BY_NAME[name].defaults if name is not None else {}
    usual_stage = trainer.usual_zero_stage
    return RunDefaults(
        source=name or trainer.name,
        recompute=values.get("recompute", "none"),
        zero_stage=usual_stage if usual_stage > 1 else int(values.get("zero_stage", usual_stage)),
        degrees={key: text for key, text in values.items() if key in _DEGREES},
        is_sequence_parallel=values.get("seq_parallel", "no") in ("yes", "tp"),
        settings={key: text for key, text in values.items() if key not in (*_OTHER_KEYS, *_DEGREES)},
    )
