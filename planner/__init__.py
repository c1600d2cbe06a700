"""Plan distributed training runs of large models.

`plan` and `estimate` answer as the commands of these names do; see `planner.api`.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from planner.api import InputError, NothingFits, PlannerError, estimate, plan
    from planner.documents.heterogeneous import HeterogeneousDocument
    from planner.documents.plan import Document

__all__ = [
    "Document",
    "HeterogeneousDocument",
    "InputError",
    "NothingFits",
    "PlannerError",
    "__version__",
    "estimate",
    "plan",
]

_HOME_MODULES = {"Document": "planner.documents.plan", "HeterogeneousDocument": "planner.documents.heterogeneous"}
"""What is not in `planner.api`."""


def __getattr__(name: str) -> object:
    """What the package offers, loaded when it is asked for: the commands start faster without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME_MODULES.get(name, "planner.api")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
