#!/bin/bash
# The first machine of a model over several: Ray's head, and the worker whose engine is spread over all of them.
# Run ray/node.sh on the others first or afterwards; the worker waits until there are MACHINES of them.
#   ADDRESS=10.0.0.11 MACHINES=2 MODEL="chat=vllm:/models/chat?tensor_parallel_size=8&pipeline_parallel_size=2&distributed_executor_backend=ray" \
#     head.sh --registry 10.0.0.5:7000 --tls /etc/inferloom/tls/w1
# Ray asks nobody who calls: ADDRESS must be on a network of these machines' own.
set -euo pipefail
: "${ADDRESS:?the address of this machine on the network of the others}"
: "${MODEL:?NAME=vllm:FOLDER?OPTIONS}"

export RAY_ADDRESS="$ADDRESS:6379"
ray start --head --node-ip-address="$ADDRESS" --port=6379 --dashboard-host=127.0.0.1 --disable-usage-stats
trap 'ray stop' EXIT
python3 - "${MACHINES:-1}" <<'PYTHON'
import sys, time

import ray

ray.init(log_to_driver=False, logging_level="error")
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(2)
PYTHON

# SIGTERM goes on to the worker, which drains before Ray stops.
inferloom worker --listen "$ADDRESS:7100" --model "$MODEL" "$@" &
worker=$!
trap 'kill -TERM "$worker" 2>/dev/null || true' TERM INT
while kill -0 "$worker" 2>/dev/null; do wait "$worker" && status=0 || status=$?; done
exit "$status"
