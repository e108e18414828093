#!/bin/bash
# A further machine of a model over several: gives its GPUs to the Ray whose head is at HEAD. Ends with SIGTERM.
#   HEAD=10.0.0.11:6379 ADDRESS=10.0.0.12 node.sh
# Model files are at the same path on all machines, and so are the versions of Python, vLLM and Ray.
set -euo pipefail
: "${HEAD:?host:port of the head}" "${ADDRESS:?the address of this machine on the network of the others}"

exec ray start --address="$HEAD" --node-ip-address="$ADDRESS" --disable-usage-stats --block
