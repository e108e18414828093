"""Changes to the files of an encoder's folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

Change = Callable[[Path], None]


def edit(name: str, **fields: Any) -> Change:
    """Set fields of a JSON file, which may be new; a field that becomes ``...`` is taken out."""

    def change(folder: Path) -> None:
        file = folder / name
        config = json.loads(file.read_text()) if file.exists() else {}
        config = {key: value for key, value in (config | fields).items() if value is not ...}
        file.write_text(json.dumps(config))

    return change


def edit_tokenizer(**parts: dict[str, Any]) -> Change:
    """Change fields within parts of ``tokenizer.json``."""

    def change(folder: Path) -> None:
        file = folder / "tokenizer.json"
        spec = json.loads(file.read_text())
        for part, fields in parts.items():
            spec[part] = (spec[part] or {}) | fields
        file.write_text(json.dumps(spec))

    return change


def rename_weights(rename: Callable[[str], str]) -> Change:
    """Give the tensors other names."""

    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        save_file({rename(name): tensor for name, tensor in load_file(file).items()}, file, {"format": "pt"})

    return change


def old_names(name: str) -> str:
    """As the first files called norms."""
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


def halve(folder: Path) -> None:
    """Store weights in bfloat16."""
    file = folder / "model.safetensors"
    save_file({name: tensor.bfloat16() for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def whole_numbers(folder: Path) -> None:
    """Store weights as whole numbers."""
    file = folder / "model.safetensors"
    save_file({name: tensor.short() for name, tensor in load_file(file).items()}, file, {"format": "pt"})


def write(name: str, text: str = "{}") -> Change:
    """Write a file."""

    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return change


def remove(name: str) -> Change:
    """Take a file away."""
    return lambda folder: (folder / name).unlink()


def modules(*types: str) -> Change:
    """Name other modules."""

    def change(folder: Path) -> None:
        listed = [
            {"idx": i, "name": str(i), "path": f"{i}_{kind.rsplit('.', 1)[-1]}" if i else "", "type": kind}
            for i, kind in enumerate(types)
        ]
        (folder / "modules.json").write_text(json.dumps(listed))

    return change
