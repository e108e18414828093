"""Where `make` takes PyTorch from."""

import pytest
from install import CPU_INDEX, doing, torch_index


@pytest.mark.parametrize(
    ("environment", "system", "pip_config", "expected"),
    [
        ({}, "linux", "", (CPU_INDEX, False)),
        ({"GPU": "1"}, "linux", "", (None, False)),
        ({"GPU": "", "TORCH_INDEX": ""}, "linux", "", (CPU_INDEX, False)),
        ({}, "darwin", "", (None, False)),
        ({"TORCH_INDEX": "https://mirror/cu130"}, "linux", "", ("https://mirror/cu130", True)),
        ({"TORCH_INDEX": "none"}, "linux", "", (None, True)),
        ({}, "linux", "global.index-url='https://mirror/simple'", (None, False)),
        ({}, "linux", "global.find-links='/wheels'", (None, False)),
        ({"PIP_INDEX_URL": "https://mirror/simple"}, "linux", "", (None, False)),
        ({}, "linux", "global.timeout='60'", (CPU_INDEX, False)),
    ],
)
def test_pytorch_comes_without_cuda_unless_somebody_says_otherwise(
    environment: dict[str, str], system: str, pip_config: str, expected: tuple[str | None, bool]
) -> None:
    """A GPU, an index, or a pip that was told where packages come from."""
    assert expected == torch_index(environment, system, pip_config)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Collecting torch>=2.11 (from -c constraints.txt (line 7))\n", "looking for torch"),
        ("Collecting uvicorn[standard]==0.40\n", "looking for uvicorn"),
        (
            "  Downloading torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl (190.1 MB)\n",
            "fetching torch, 190.1 MB",
        ),
        ("Downloading https://host/whl/cpu/torch-2.11.0%2Bcpu.whl (190.1 MB)\n", "fetching torch, 190.1 MB"),
        ("Downloading six-1.17.0-py2.py3-none-any.whl.metadata\n", "fetching six"),
        ("  Building editable for inferloom (pyproject.toml): started\n", "compiling the kernels"),
        ("Installing collected packages: six, torch\n", "installing the packages"),
        ("Requirement already satisfied: six in ./lib\n", "looking at what is there"),
        ("\n", None),
    ],
)
def test_what_pip_is_at(line: str, expected: str | None) -> None:
    """In words for who waits."""
    assert doing(line) == expected
