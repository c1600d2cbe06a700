"""The head of a model by `architectures` of its config.json: of language, of masked tokens, of classes, or none.

Source: transformers 5.24.0, modeling_layers.py (`GenericForSequenceClassification`: a matrix without bias;
`GenericForTokenClassification`, `GenericForQuestionAnswering`: with one), models/bert/modeling_bert.py (a pooler, and
a matrix with a bias).
"""

from __future__ import annotations

from planner.workload.huggingface.config_file import HuggingFaceConfig, SpecFields

_LANGUAGE_ENDINGS = (
    "ForCausalLM",
    "LMHeadModel",
    "ForConditionalGeneration",
    "LMModel",
    "LM",
    "Decoder",
    "WithLMHead",
)
_MASKED_ENDINGS = ("ForMaskedLM",)
_DEFAULT_CLASSES = 2


def read_head(config: HuggingFaceConfig, fields: SpecFields) -> SpecFields:
    """The fields of the head, where `architectures` names another than the family's. Raises InputError for one that
    nothing describes.
    """
    architectures = config.raw.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        return {}
    name = architectures[0]
    if fields.get("relative_positions") == "xlnet":
        # its head of language is the embedding with a bias
        return {"head": "lm", "head_bias": True, "tied_embeddings": True} if name.endswith("LMHeadModel") else {}
    is_encoder = fields.get("architecture") == "encoder"
    if name.endswith(_MASKED_ENDINGS) or (is_encoder and name.endswith(("LMHeadModel", "ForCausalLM"))):
        return {"head": "masked-lm"} if is_encoder and fields.get("head") != "lm" else {}
    if name.endswith("ForSequenceClassification"):
        return {"head": "classes", "classes": _count_classes(config), "classes_bias": is_encoder, "mtp_layers": 0}
    if name.endswith("ForTokenClassification"):
        return {"head": "token-classes", "classes": _count_classes(config), "classes_bias": True, "mtp_layers": 0}
    if name.endswith("ForQuestionAnswering"):
        return {"head": "token-classes", "classes": 2, "classes_bias": True, "mtp_layers": 0}
    if name.endswith(("RewardModel", "ForPreTraining", "ForMultipleChoice", "ForNextSentencePrediction")):
        expected = "ForCausalLM, ForMaskedLM, ForSequenceClassification, ForTokenClassification, or Model"
        raise config.build_unsupported_error("architectures", name, expected)
    if name.endswith("EncoderModel"):
        raise config.build_unsupported_error("architectures", name, "the model with its decoder")
    if name.endswith("Model") and not name.endswith(("LMHeadModel", "LMModel")):
        if fields.get("architecture") == "encoder-decoder":
            return {}
        if is_encoder:
            # BERT and those of its form have a pooler
            return {
                "head": "pooler" if fields.get("head_transform_bias", True) and fields.get("token_types") else "none"
            }
        return {"head": "none", "mtp_layers": 0}
    return {}


def _count_classes(config: HuggingFaceConfig) -> int:
    """Classes: those named, or their number; the library's default is 2."""
    names = config.raw.get("id2label")
    if isinstance(names, dict) and names:
        return len(names)
    return config.read_integer("num_labels", default=_DEFAULT_CLASSES)
