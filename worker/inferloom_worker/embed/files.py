"""The JSON files of an encoder's folder, read only as far as they are understood."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inferloom_worker.sourcing.json_files import read_object


class UnknownFormError(ValueError):
    """A folder is in a form that only sentence-transformers' own modules read; the message says how."""


SENTENCE, SETTINGS = "sentence_bert_config.json", "config_sentence_transformers.json"
"""Files of sentence-transformers: of its transformer, and of the whole model."""

_OTHER = (
    *("adapter_config.json", "added_tokens.json", "processor_config.json", "preprocessor_config.json"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates"),
)
"""Files that would make it another model, or its input another one."""


@contextmanager
def usual_form() -> Iterator[None]:
    """What goes wrong while files are read means that they are in a form that is not known here.

    Raises:
        UnknownFormError: Something went wrong.
    """
    try:
        yield
    except UnknownFormError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as failure:
        raise UnknownFormError(f"a file is not in its usual form: {failure!r}") from failure


def refuse_other_files(folder: Path) -> None:
    """Make sure that no file says more of the model than those that are read.

    Raises:
        UnknownFormError: There is one.
    """
    for name in (*_OTHER, *(file.name for file in folder.glob("sentence_*_config.json"))):
        if name != SENTENCE and (folder / name).exists():
            raise UnknownFormError(f"{name} is there")


def settle(
    file: str, config: Mapping[str, Any], *, free: Iterable[str], fixed: Mapping[str, tuple[Any, ...]]
) -> None:
    """Make sure that nothing in ``config`` changes vectors in a way that is not understood.

    Args:
        file: Where it was read, for the message.
        config: What was read.
        free: Keys that may have any value.
        fixed: Keys that may be there with one of these values only.

    Raises:
        UnknownFormError: There is another key, or another value.
    """
    free = frozenset(free)
    for key, value in config.items():
        if key not in free and value not in fixed.get(key, ()):
            raise UnknownFormError(f"{file} has {key}: {value!r}")


def whole(file: str, config: Mapping[str, Any], key: str) -> int:
    """A whole number of at least 1.

    Raises:
        UnknownFormError: ``key`` is missing or something else.
    """
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UnknownFormError(f"{file} has {key}: {value!r}")
    return value


def default_prompt(settings: Mapping[str, Any]) -> str:
    """What is put before every text, or every query: the prompt that is the default, if there is one.

    Raises:
        UnknownFormError: It is no text.
        KeyError: There is no prompt of that name.
    """
    name = settings.get("default_prompt_name")
    if name is None:
        return ""
    prompt = settings["prompts"][name]
    if not isinstance(prompt, str):
        raise UnknownFormError(f"{SETTINGS} has no text for the prompt {name}")
    return prompt


def most_tokens(sentence: Mapping[str, Any], tokenizer: int | None, positions: int) -> int:
    """Tokens of the longest text: what the transformer's file says, or else the tokenizer and the positions.

    Raises:
        UnknownFormError: They are more than there are positions.
    """
    if sentence.get("max_seq_length") is not None:
        most = whole(SENTENCE, sentence, "max_seq_length")
    else:
        most = min(tokenizer or positions, positions)
    if not 0 < most <= positions:
        raise UnknownFormError(f"texts of {most} tokens have more than there are positions")
    return most


def is_matryoshka(folder: Path) -> bool:
    """Whether the model says that its vectors may be cut: by a list of lengths, or by cutting them itself.

    Raises:
        ValueError: A file holds no JSON object.
    """
    configs = (read_object(folder / name) for name in ("config_sentence_transformers.json", "config.json"))
    keys = ("truncate_dim", "matryoshka_dimensions", "is_matryoshka")
    return any(config.get(key) for config in configs for key in keys)
