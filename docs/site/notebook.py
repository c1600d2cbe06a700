"""`python -m docs.site.notebook`: run the notebooks and store their outputs, the same bytes for the same outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def renew_notebooks() -> None:
    """Renew the outputs of all notebooks."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(notebook, record_timing=False, timeout=120).execute()
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
        for cell in notebook.cells:
            cell.metadata = {}
            if cell.cell_type == "code":
                cell.outputs = _join_outputs(cell.outputs)
        nbformat.write(notebook, path)


def _join_outputs(outputs: list[Any]) -> list[Any]:
    """The outputs with consecutive pieces of a stream joined: how a stream is cut depends on timing."""
    joined: list[Any] = []
    for output in outputs:
        if (
            joined
            and output.output_type == "stream"
            and joined[-1].output_type == "stream"
            and output.name == joined[-1].name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    renew_notebooks()
