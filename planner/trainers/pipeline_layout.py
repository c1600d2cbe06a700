"""A pipeline layout of one's own: which layers are in each chunk of the pipeline, as one text.

Either form of the chunks, in the model's order, with E for the embedding, L for the head with the loss, M for a layer
of multi-token prediction:

- numbers of layers: `E4|4|4|3ML`, or with commas in place of the bars;
- Megatron-LM's `--pipeline-model-parallel-layout`: `Et*2|(tt|)*29m|L`, where t is a layer and commas are skipped
  (`parse_str_to_list` of megatron/core/transformer/pipeline_parallel_layer_layout.py, megatron-core 0.16.1);

or a rule that holds for any number of chunks, by the names of its other options (`TransformerConfig.__post_init__` of
megatron/core/transformer/transformer_config.py): `embedding-as-layer`, `loss-as-layer`,
`embedding-and-loss-as-layers`, where these count as a layer each and all chunks are equal; `first-N`, `last-N`,
`first-N-last-M`, the layers of the first and of the last stage, where the other stages are equal. `auto` is the even
partition (`planner/cost/pipeline/partition.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from planner.errors import InputError, find_nearest_name

AUTO_LAYOUT = "auto"
LAYOUT_NAMES = (AUTO_LAYOUT, "embedding-as-layer", "loss-as-layer", "embedding-and-loss-as-layers")
_LAYOUT_START = re.compile(r",(?=\s*(?:E|auto\b|embedding-|loss-|first-|last-))", re.IGNORECASE)
"""The comma before another layout: each begins with the embedding, or is a name."""
_ENDS = re.compile(r"(?:first-(?P<first>\d{1,5}))?(?:(?<=\d)-(?=last))?(?:last-(?P<last>\d{1,5}))?")
_CHUNK = re.compile(r"(e?)(t*|\d{1,5})(m*)(l?)")
_REPEATED_GROUP, _REPEATED_LETTER = re.compile(r"\(([^()]+)\)\*(\d{1,5})"), re.compile(r"([a-z|])\*(\d{1,5})")
_MAX_CHARACTERS = 20_000
"""Of a layout, with all repetitions written out."""


@dataclass(frozen=True)
class PipelineLayout:
    """How layers are partitioned into chunks.

    `chunk_layers`: of each chunk in the model's order; empty where a rule decides. `mtp_layers`: the same for layers
    of multi-token prediction. Rules: whether embedding and head with the loss count as a layer each, and the layers
    of the first and of the last stage.
    """

    chunk_layers: tuple[int, ...] = ()
    mtp_layers: tuple[int, ...] = ()
    counts_embedding: bool = False
    counts_loss: bool = False
    first_layers: int | None = None
    last_layers: int | None = None

    @property
    def is_auto(self) -> bool:
        """Whether it is the even partition."""
        return self == PipelineLayout()

    @property
    def sets_prediction_apart(self) -> bool:
        """Whether the layers of multi-token prediction are in another chunk than the head with the loss."""
        return any(self.mtp_layers[:-1])

    def list_chunk_layers(self, layers: int, pp: int, vpp: int) -> tuple[int, ...] | None:
        """Layers of each of the pp x vpp chunks in the model's order, with those of multi-token prediction where
        `layers` counts them; None where they cannot be laid out so.
        """
        if self.chunk_layers:
            stated = self.chunk_layers
            if layers == sum(self.chunk_layers) + sum(self.mtp_layers):
                stated = tuple(map(sum, zip(self.chunk_layers, self.mtp_layers, strict=True)))
            return stated if len(stated) == pp * vpp and sum(stated) == layers else None
        if self.counts_embedding or self.counts_loss:
            chunk_layers, rest = divmod(layers + self.counts_embedding + self.counts_loss, pp * vpp)
            counts = [chunk_layers] * (pp * vpp)
            counts[0] -= self.counts_embedding
            counts[-1] -= self.counts_loss
            return tuple(counts) if rest == 0 and min(counts) >= 0 else None
        return self._list_between_ends(layers, pp, vpp)

    def _list_between_ends(self, layers: int, pp: int, vpp: int) -> tuple[int, ...] | None:
        """The same where the layers of the first or the last stage are given; a stage's chunks are equal."""
        ends = {0: self.first_layers, pp - 1: self.last_layers}
        given = {stage: count for stage, count in ends.items() if count is not None}
        if pp == 1 or len(given) < (self.first_layers is not None) + (self.last_layers is not None):
            return None
        rest_stages, rest_layers = pp - len(given), layers - sum(given.values())
        if rest_stages == 0 and rest_layers == 0:
            rest_stages = 1
        if rest_stages == 0 or rest_layers < 0 or rest_layers % (rest_stages * vpp):
            return None
        if any(count % vpp for count in given.values()):
            return None
        stage_layers = [given.get(stage, rest_layers // rest_stages) for stage in range(pp)]
        return tuple(count // vpp for count in stage_layers) * vpp


@cache
def parse_layout(text: str) -> PipelineLayout:
    """The layout of a text. Raises ValueError with what is wrong."""
    word = text.strip().casefold()
    if word in LAYOUT_NAMES:
        return PipelineLayout(counts_embedding="embedding" in word, counts_loss="loss" in word)
    if word.startswith(("first-", "last-")):
        ends = _ENDS.fullmatch(word)
        if ends is None:
            raise ValueError("not the layers of the first and the last stage, such as first-3-last-5")
        first, last = (None if number is None else int(number) for number in ends.group("first", "last"))
        return PipelineLayout(first_layers=first, last_layers=last)
    return _parse_chunks(word.replace(" ", ""))


def _parse_chunks(text: str) -> PipelineLayout:
    """The layout of a text in lower case that lists the chunks."""
    chunk_texts = _unroll(text.replace(",", "") if "|" in text else text.replace(",", "|")).split("|")
    matches = [_CHUNK.fullmatch(chunk) for chunk in chunk_texts]
    for chunk, match in zip(chunk_texts, matches, strict=True):
        if match is None:
            raise ValueError(f"chunk {chunk[:20]!r} is not E, layers, M and L, in this order")
    parts = [match.groups() for match in matches if match is not None]
    if not parts[0][0] or any(embedding for embedding, *_ in parts[1:]):
        raise ValueError("the embedding E is not in the first chunk and there alone")
    if not parts[-1][3] or any(loss for *_, loss in parts[:-1]):
        raise ValueError("the head with the loss L is not in the last chunk and there alone")
    chunk_layers = tuple(int(count) if count.isdecimal() else len(count) for _, count, _, _ in parts)
    mtp_layers = tuple(len(count) for _, _, count, _ in parts)
    first_mtp_chunk = next((chunk for chunk, count in enumerate(mtp_layers) if count), len(parts))
    if any(chunk_layers[first_mtp_chunk + 1 :]) or sum(map(bool, mtp_layers)) > 1:
        raise ValueError("the layers of multi-token prediction M are not after all others, in one chunk")
    if not sum(chunk_layers):
        raise ValueError("it has no layers")
    return PipelineLayout(chunk_layers, mtp_layers)


def _unroll(text: str) -> str:
    """The text with all repetitions written out, `(tt|)*3` and `t*4`."""
    for pattern in (_REPEATED_GROUP, _REPEATED_LETTER):
        length = len(text) + sum(len(match[1]) * int(match[2]) for match in pattern.finditer(text))
        if length > _MAX_CHARACTERS:
            raise ValueError("it is longer than any pipeline")
        text = pattern.sub(lambda match: match[1] * int(match[2]), text)
    return text


def format_layout(layout: PipelineLayout) -> str:
    """The text of a layout: its name, or numbers of layers by chunk with bars between."""
    if layout.is_auto:
        return AUTO_LAYOUT
    if layout.chunk_layers:
        last = len(layout.chunk_layers) - 1
        return "|".join(
            f"{'E' * (chunk == 0)}{count or ''}{'M' * mtp}{'L' * (chunk == last)}" or "0"
            for chunk, (count, mtp) in enumerate(zip(layout.chunk_layers, layout.mtp_layers, strict=True))
        )
    if layout.counts_embedding or layout.counts_loss:
        return next(name for name in LAYOUT_NAMES[1:] if parse_layout(name) == layout)
    ends = (("first", layout.first_layers), ("last", layout.last_layers))
    return "-".join(f"{name}-{count}" for name, count in ends if count is not None)


def check_layout(text: str, layers: int, mtp_layers: int | None = None, key: str = "--layout") -> PipelineLayout:
    """The layout of a text. Raises InputError for a text that is no layout, and for one with other layers than the
    model's; `mtp_layers`: None where they are unknown.
    """
    try:
        layout = parse_layout(text)
    except ValueError as error:
        raise build_layout_error(text, str(error), key) from None
    counts = (("layers", layout.chunk_layers, layers), ("layers M", layout.mtp_layers, mtp_layers))
    for name, chunk_counts, expected in counts:
        if chunk_counts and expected is not None and sum(chunk_counts) != expected:
            problem = f"the layout has {sum(chunk_counts)} {name}, the model has {expected}"
            raise InputError(problem, key=key, value=text, expected=f"chunks with {expected} {name} in all")
    return layout


def find_mtp_chunk(text: str, chunks: Any) -> Any:
    """The chunk with the layers of multi-token prediction, of so many, a number or an array: the last where the
    layout does not say.
    """
    mtp_layers = parse_layout(text).mtp_layers
    return next((chunk for chunk, count in enumerate(mtp_layers) if count), chunks - 1)


def build_layout_error(text: str, problem: str, key: str = "--layout") -> InputError:
    """The error for a text that is no layout."""
    return InputError(
        f"not a pipeline layout: {problem}",
        key=key,
        value=text,
        expected=f"one of {', '.join(LAYOUT_NAMES)}, or chunks such as E4|4|3L, Et*4|(tt|)*2L, first-3-last-5",
        suggestion=find_nearest_name(text.casefold(), LAYOUT_NAMES),
    )


def split_layouts(text: str) -> list[str]:
    """The layouts of a list with commas between, which a layout may have too."""
    return [part.strip() for part in _LAYOUT_START.split(text)]
