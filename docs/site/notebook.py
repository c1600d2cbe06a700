"""`python -m docs.site.notebook`: run the notebooks and store what they say, the same bytes for the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def main() -> None:
    """Renew the outputs of all notebooks."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(notebook, record_timing=False, timeout=120).execute()
        notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
        for cell in notebook.cells:
            cell.metadata = {}
            if cell.cell_type == "code":
                cell.outputs = _joined(cell.outputs)
        nbformat.write(notebook, path)


def _joined(outputs: list[Any]) -> list[Any]:
    """Texts that came in pieces, as time has it, in one."""
    told: list[Any] = []
    for one in outputs:
        if told and one.output_type == "stream" and told[-1].output_type == "stream" and one.name == told[-1].name:
            told[-1].text += one.text
        else:
            told.append(one)
    return told


if __name__ == "__main__":
    main()
