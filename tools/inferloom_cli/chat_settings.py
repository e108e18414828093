"""What `/set` of a conversation changes. Pure."""

from collections.abc import Mapping

from inferloom.v1.inference_pb2 import SamplingOptions, StoppingOptions

SANE: Mapping[str, float] = {"temperature": 0.7, "top_p": 0.95}
"""How a conversation draws where neither the person nor the model says: small models ramble at 1."""

_SAMPLING: Mapping[str, type[int] | type[float]] = {
    "temperature": float,
    "top_p": float,
    "top_k": int,
    "min_p": float,
    "repetition_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
    "seed": int,
}
NAMES = (*_SAMPLING, "max_tokens")


def change(sampling: SamplingOptions, stopping: StoppingOptions, name: str, text: str) -> None:
    """Set one value, or with ``default`` as its text take it back.

    Raises:
        ValueError: There is no such value, or the text is no number that fits it.
    """
    if name not in NAMES:
        raise ValueError(f"there is no {name[:80]} to set; there are {', '.join(NAMES)}")
    options = stopping if name == "max_tokens" else sampling
    if text == "default":
        options.ClearField(name)  # type: ignore[arg-type] # a name of the list above
        return
    kind = _SAMPLING.get(name, int)
    try:
        setattr(options, name, kind(text))
    except ValueError as wrong:
        number = "a whole number from 0 on" if kind is int else "a number"
        raise ValueError(f"{name} must be {number}, not {text[:80]!r}") from wrong


def with_defaults(asked: SamplingOptions, card: SamplingOptions) -> SamplingOptions:
    """What to send: what the person asked for, and :data:`SANE` values where the model's card has none.

    A model whose card says how it is drawn from is left to that; so is a person's own temperature.
    """
    sent = SamplingOptions()
    if not card.ListFields() and not asked.HasField("temperature"):
        for name, value in SANE.items():
            setattr(sent, name, value)
    sent.MergeFrom(asked)
    return sent


def shown(asked: SamplingOptions, stopping: StoppingOptions, card: SamplingOptions) -> list[str]:
    """Each value that a conversation is drawn with, and who says so."""
    lines = []
    for name in _SAMPLING:
        if asked.HasField(name):  # type: ignore[arg-type]
            lines.append(f"{name} {getattr(asked, name):g}  (yours)")
        elif card.HasField(name):  # type: ignore[arg-type]
            lines.append(f"{name} {getattr(card, name):g}  (the model's)")
        elif name in SANE and with_defaults(asked, card).HasField(name):  # type: ignore[arg-type]
            lines.append(f"{name} {SANE[name]:g}  (of this command, as the model says nothing)")
    if stopping.HasField("max_tokens"):
        lines.append(f"max_tokens {stopping.max_tokens}  (yours)")
    return lines
