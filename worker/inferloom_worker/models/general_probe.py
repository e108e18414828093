"""What a transformers model asks of attention, noted while it computes two tokens.

The paged attention gives each row the tokens up to its own, or a window of them. What a model wants is in the
mask that it would make, as a rule over positions; so the rule itself is compared, up to the longest sequence
that will be computed, and no list of models has to be kept. Whatever else a model hands to attention (a mask
of its own making, a bias, keys of other tokens) cannot be kept, and the model is refused.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
)

from inferloom_worker.models.cache import LayerShape
from inferloom_worker.models.protocol import UnsupportedModelError

_NAME = "inferloom_probe"
"""Name under which transformers finds the probe; unlike the paged attention's, it is one that masks are made
for."""

_MARK = "paged_probe"
"""An option that must reach attention, as those of a step must."""

_TENSORS = frozenset({"position_ids", "cache_position"})
"""Tensors among a call's options that say nothing about who sees whom."""


@dataclass(frozen=True, slots=True)
class AskedAttention:
    """What one layer asks for."""

    shape: LayerShape
    window: int | None
    """Tokens that a row sees, up to and including its own. None: all of them."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A mask that was made, and its rule at the probe's pairs of positions."""

    mask: Tensor
    visible: Tensor


class _Probe:
    """Notes the calls of one pass.

    Args:
        config: The model's.
        context_length: The longest sequence that will be computed.
    """

    def __init__(self, config: PreTrainedConfig, context_length: int) -> None:
        self.layers: dict[int, AskedAttention] = {}
        self._kind = config.model_type
        self._numbers = sorted({n for n in _numbers(config.to_dict()) if 0 < n < context_length})
        self._rows, self._places = _pairs(context_length, self._numbers)
        self._rules: list[_Rule] = []
        # Where mask and cache of a model disagree, its answers depend on how they were cut into calls.
        layers = enumerate(DynamicCache(config=config).layers)
        windows = {i: int(layer.sliding_window) for i, layer in layers if getattr(layer, "is_sliding", False)}
        self._kept = {layer: window for layer, window in windows.items() if window < context_length}

    def make_mask(self, rows: int, places: int, rule: Callable[..., Any], device: torch.device) -> Tensor:
        """The mask [1, 1, rows, places] that attention would be given."""
        zero = torch.tensor(0)
        try:
            visible = torch.as_tensor(rule(zero, zero, self._rows, self._places))
        except IndexError as failure:
            raise self._refused("its mask depends on more than positions") from failure
        visible = visible.broadcast_to(self._rows.shape)
        mask = torch.ones(rows, places, dtype=torch.bool, device=device).tril()[None, None]
        self._rules.append(_Rule(mask, visible))
        return mask

    def note(
        self,
        module: torch.nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        options: Mapping[str, Any],
    ) -> None:
        """Take in one layer's call.

        Raises:
            UnsupportedModelError: It asks for what the paged attention does not compute.
        """
        if _MARK not in options:
            raise self._refused("its layers do not hand on what attention is called with")
        layer: Any = getattr(module, "layer_idx", None)
        if not isinstance(layer, int):
            raise self._refused("it has attention that belongs to no layer")
        if layer in self.layers:
            raise self._refused(f"layer {layer} computes attention more than once")
        if options.get("s_aux") is not None:
            raise self._refused("attention sinks are not computed")
        for name, option in options.items():
            if isinstance(option, Tensor) and name not in _TENSORS:
                raise self._refused(f"its attention takes {name}")
        if not len(query) == len(key) == 1 or query.shape[2] != key.shape[2]:
            raise self._refused("its keys are not those of the tokens that ask")
        if key.shape[1] != value.shape[1]:
            raise self._refused("it has more heads of keys than of values, or fewer")
        shape = (key.shape[1], max(key.shape[3], value.shape[3]))
        window = self._window(layer, mask, options.get("sliding_window"))
        kept = self._kept.get(layer)
        if kept is not None and (window is None or window > kept):
            raise self._refused(f"layer {layer} sees more tokens than the {kept} that transformers keeps")
        self.layers[layer] = AskedAttention(shape, window)

    def _window(self, layer: int, mask: Tensor | None, asked: Any) -> int | None:
        """The window that hides what the layer's mask hides.

        The mask decides, as in transformers' own attention: some models have a window in it alone.
        """
        rule = next((r for r in self._rules if mask is not None and _same(r.mask, mask)), None)
        if rule is None:
            raise self._refused(
                "it asks for no causal mask" if mask is None else "it makes masks of a kind of its own"
            )
        candidates = [*([] if asked is None else [int(asked)]), None, *self._numbers]
        first_wrong = 0
        for window in candidates:
            wrong = self._rows[rule.visible != self._visible(window)]
            if not len(wrong):
                return window
            first_wrong = max(first_wrong, int(wrong.min()))
        raise self._refused(f"layer {layer} hides other tokens than a causal window does", first_wrong)

    def _visible(self, window: int | None) -> Tensor:
        visible = self._places <= self._rows
        return visible if window is None else visible & (self._places > self._rows - window)

    def _refused(self, reason: str, up_to: int = 0) -> UnsupportedModelError:
        advice = f"; with a context length of {up_to} at most it can be served" if up_to > 1 else ""
        return UnsupportedModelError(
            f"models of type {self._kind} are not served: {reason}, which the paged cache cannot do{advice}"
        )


_probing: ContextVar[_Probe] = ContextVar("probing")


@torch.inference_mode()
def probe_attention(
    model: PreTrainedModel, config: PreTrainedConfig, context_length: int
) -> dict[int, AskedAttention]:
    """What each layer asks for, in their order, for sequences of up to ``context_length`` tokens.

    Raises:
        UnsupportedModelError: The model asks for what the paged attention does not compute.
    """
    probe = _Probe(config, context_length)
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, _make_mask)
    model.set_attn_implementation(_NAME)
    tokens = torch.zeros(1, 2, dtype=torch.int64, device=model.device)
    places = torch.arange(2, device=model.device)[None]
    with _installed(probe):
        model(input_ids=tokens, position_ids=places, use_cache=False, **{_MARK: True})
    return dict(sorted(probe.layers.items()))


@contextmanager
def _installed(probe: _Probe) -> Iterator[None]:
    token = _probing.set(probe)
    try:
        yield
    finally:
        _probing.reset(token)


def _make_mask(
    *, q_length: int, kv_length: int, mask_function: Callable[..., Any], device: torch.device, **_: Any
) -> Tensor:
    return _probing.get().make_mask(q_length, kv_length, mask_function, device)


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it: query, key and value [1, heads, T, head_dim], output [1, T, …]."""
    _probing.get().note(module, query, key, value, attention_mask, options)
    heads = query.shape[1] // value.shape[1]
    return value.repeat_interleave(heads, 1).transpose(1, 2).contiguous(), None


def _same(made: Tensor, given: Tensor) -> bool:
    """Whether a mask is the one that was made, handed on or seen through another view."""
    return given.dtype == made.dtype and given.shape == made.shape and given.data_ptr() == made.data_ptr()


def _pairs(context_length: int, numbers: list[int]) -> tuple[Tensor, Tensor]:
    """Pairs of a row's position and another one, around every number that a rule may turn at: rows and places
    there, and places that far behind a row."""
    powers = (1 << n for n in range(context_length.bit_length()))
    turns = {n + d for n in (0, *powers, *numbers, context_length) for d in (-1, 0, 1)}
    at = torch.tensor(sorted(n for n in turns if 0 <= n < context_length))
    rows = at[:, None].expand(-1, 2 * len(at))
    places = torch.cat((at.expand(len(at), -1), at[:, None] - at), 1)
    inside = places >= 0
    return rows[inside], places[inside]


def _numbers(value: Any) -> Iterator[int]:
    """Every whole number in a config."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield value
