"""Gauges out of a server's Prometheus metrics. Pure."""

import re
from collections.abc import Collection

_SAMPLE = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? ([0-9eE.+-]+)(?: \d+)?\s*$")
_LABEL = re.compile(rb'([a-zA-Z_]\w*)="([^"\\]*)"')

_MOST_DIGITS = 40
"""Of both numbers of a cache's configuration."""


def gauges(body: bytes, names: Collection[str]) -> dict[str, float]:
    """The sum of the samples of each of these names, of those that are there."""
    wanted = {name.encode(): name for name in names}
    found: dict[str, float] = {}
    for line in body.splitlines():
        if line.startswith(b"#") or line.partition(b"{")[0].partition(b" ")[0] not in wanted:
            continue
        sample = _SAMPLE.match(line)
        if sample is None:
            continue
        try:
            value = float(sample[3])
        except ValueError:
            continue
        name = wanted[sample[1]]
        found[name] = found.get(name, 0.0) + value
    return found


def kv_tokens(body: bytes) -> int:
    """Tokens of state that fit in a vLLM server, by the labels of its cache's configuration. 0: not told."""
    for line in body.splitlines():
        if line.startswith(b"vllm:cache_config_info{"):
            labels = dict(_LABEL.findall(line))
            blocks, size = labels.get(b"num_gpu_blocks", b""), labels.get(b"block_size", b"")
            if blocks.isdigit() and size.isdigit() and len(blocks + size) <= _MOST_DIGITS:
                return min(int(blocks) * int(size), 2**62)
    return 0
