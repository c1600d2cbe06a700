"""Plan distributed training runs of large models.

`plan` and `estimate` answer as the commands of these names do; see `planner.api`.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from planner.api import InputError, NothingFits, PlannerError, estimate, plan
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import PlanDocument

    Document = PlanDocument
    MixedDocument = HeterogeneousDocument

__all__ = [
    "HeterogeneousDocument",
    "InputError",
    "NothingFits",
    "PlanDocument",
    "PlannerError",
    "__version__",
    "estimate",
    "plan",
]

_HOMES = {
    "PlanDocument": ("planner.documents.plan", "PlanDocument"),
    "HeterogeneousDocument": ("planner.documents.heterogeneous", "HeterogeneousDocument"),
    # their names before 0.2
    "Document": ("planner.documents.plan", "PlanDocument"),
    "MixedDocument": ("planner.documents.heterogeneous", "HeterogeneousDocument"),
}
"""What is not in `planner.api`: the module, and the name there."""


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: the commands start faster without."""
    if name not in __all__ and name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES.get(name, ("planner.api", name))
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
