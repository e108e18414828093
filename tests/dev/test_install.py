"""Where `make` takes PyTorch from."""

import pytest
from install import CPU_INDEX, torch_index


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
