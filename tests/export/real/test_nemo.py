"""NeMo's script, held against NeMo's own signatures: NeMo cannot be imported without a GPU's packages."""

import ast
import dataclasses
from pathlib import Path

import pytest

from tests.export.plans import OF, exported
from tests.export.real.needs import package
from tests.export.real.trees import tree

pytestmark = pytest.mark.export

OF_NEMO = {
    "nl.MegatronStrategy": ("nemo/lightning/pytorch/strategies/megatron_strategy.py", "MegatronStrategy"),
    "nl.MegatronMixedPrecision": ("nemo/lightning/pytorch/plugins/mixed_precision.py", "MegatronMixedPrecision"),
    "nl.MegatronOptimizerModule": ("nemo/lightning/pytorch/optim/megatron.py", "MegatronOptimizerModule"),
    "llm.GPTModel": ("nemo/collections/llm/gpt/model/base.py", "GPTModel"),
    "llm.MockDataModule": ("nemo/collections/llm/gpt/data/mock.py", "MockDataModule"),
    "llm.GPTConfig": ("nemo/collections/llm/gpt/model/base.py", "GPTConfig"),
    "llm.pretrain": ("nemo/collections/llm/api.py", "pretrain"),
    "get_nmt_tokenizer": ("nemo/collections/nlp/modules/common/tokenizer_utils.py", "get_nmt_tokenizer"),
}


def names_of(where: Path, file: str, name: str) -> set[str]:
    """Arguments of a function or of a class: of its `__init__`, else the fields of a dataclass."""
    tree = ast.parse((where / file).read_text())
    found = next(node for node in tree.body if getattr(node, "name", "") == name)
    if isinstance(found, ast.ClassDef):
        inits = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        if not inits:
            return {node.target.id for node in found.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
        found = inits[0]
    assert isinstance(found, ast.FunctionDef)
    return {argument.arg for argument in found.args.args + found.args.kwonlyargs}


@pytest.mark.parametrize("name", OF["nemo"])
def test_nemo_has_every_argument(name: str, tmp_path: Path) -> None:
    where = tree("nemo_toolkit")
    core = package("megatron.core.transformer.transformer_config").TransformerConfig
    shared = package("megatron.core.distributed").DistributedDataParallelConfig
    optimizer = package("megatron.core.optimizer").OptimizerConfig
    known = {call: names_of(where, *at) for call, at in OF_NEMO.items()}
    known["llm.GPTConfig"] |= {field.name for field in dataclasses.fields(core)}
    known["DistributedDataParallelConfig"] = {field.name for field in dataclasses.fields(shared)}
    known["OptimizerConfig"] = {field.name for field in dataclasses.fields(optimizer)}
    script = exported(tmp_path, name, "nemo") / "planned_nemo.py"
    calls = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    checked = set()
    for call in calls:
        of = ast.unparse(call.func)
        if of in known:
            checked.add(of)
            assert {keyword.arg for keyword in call.keywords} <= known[of], of
    assert checked == set(known)
