"""NeMo's script, compared with NeMo's own signatures: NeMo cannot be imported without a GPU's packages."""

import ast
import dataclasses
from pathlib import Path

import pytest

from tests.export.plans import PLANS_BY_TRAINER, export_plan
from tests.export.real.needs import import_package
from tests.export.real.trees import find_tree

pytestmark = pytest.mark.export

NEMO_SOURCES = {
    "nl.MegatronStrategy": ("nemo/lightning/pytorch/strategies/megatron_strategy.py", "MegatronStrategy"),
    "nl.MegatronMixedPrecision": ("nemo/lightning/pytorch/plugins/mixed_precision.py", "MegatronMixedPrecision"),
    "nl.MegatronOptimizerModule": ("nemo/lightning/pytorch/optim/megatron.py", "MegatronOptimizerModule"),
    "llm.GPTModel": ("nemo/collections/llm/gpt/model/base.py", "GPTModel"),
    "llm.MockDataModule": ("nemo/collections/llm/gpt/data/mock.py", "MockDataModule"),
    "llm.GPTConfig": ("nemo/collections/llm/gpt/model/base.py", "GPTConfig"),
    "Llama31Config": ("nemo/collections/llm/gpt/model/llama.py", "Llama31Config"),
    "nl.AutoResume": ("nemo/lightning/resume.py", "AutoResume"),
    "nl.NeMoLogger": ("nemo/lightning/nemo_logger.py", "NeMoLogger"),
    "nl.ModelCheckpoint": ("nemo/lightning/pytorch/callbacks/model_checkpoint.py", "ModelCheckpoint"),
    "llm.pretrain": ("nemo/collections/llm/api.py", "pretrain"),
    "get_nmt_tokenizer": ("nemo/collections/nlp/modules/common/tokenizer_utils.py", "get_nmt_tokenizer"),
}


def read_argument_names(folder: Path, file: str, name: str) -> set[str]:
    """Arguments of a function or of a class: of its `__init__`, else the fields of a dataclass."""
    module = ast.parse((folder / file).read_text())
    definition = next(node for node in module.body if getattr(node, "name", "") == name)
    if isinstance(definition, ast.ClassDef):
        inits = [node for node in definition.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        if not inits:
            return {node.target.id for node in definition.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
        definition = inits[0]
    assert isinstance(definition, ast.FunctionDef)
    return {argument.arg for argument in definition.args.args + definition.args.kwonlyargs}


@pytest.mark.parametrize("name", PLANS_BY_TRAINER["nemo"])
def test_nemo_has_every_argument(name: str, tmp_path: Path) -> None:
    folder = find_tree("nemo_toolkit")
    core = import_package("megatron.core.transformer.transformer_config").TransformerConfig
    shared = import_package("megatron.core.distributed").DistributedDataParallelConfig
    optimizer = import_package("megatron.core.optimizer").OptimizerConfig
    known = {call: read_argument_names(folder, *at) for call, at in NEMO_SOURCES.items()}
    known["llm.GPTConfig"] |= {field.name for field in dataclasses.fields(core)}
    known["Llama31Config"] |= known["llm.GPTConfig"]
    known["DistributedDataParallelConfig"] = {field.name for field in dataclasses.fields(shared)}
    known["OptimizerConfig"] = {field.name for field in dataclasses.fields(optimizer)}
    script = export_plan(tmp_path, name, "nemo") / "planned_nemo.py"
    calls = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    checked = set()
    for call in calls:
        of = ast.unparse(call.func)
        if of in known:
            checked.add(of)
            assert {keyword.arg for keyword in call.keywords} <= known[of], of
    assert checked | {"llm.GPTConfig", "Llama31Config"} == set(known)
    assert len(checked & {"llm.GPTConfig", "Llama31Config"}) == 1
