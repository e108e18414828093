"""Which tests are in the fast tier: pure ones, without torch, processes and servers.

`make test-fast` runs them in under half a minute. A test that imports a large library does not belong here;
the run itself ends with a failure if one was imported. All others are in `make test`, but for those marked
``slow``, which only `make test-all` runs.
"""

from pathlib import Path

ROOT = Path(__file__).parent

FOLDERS = ("gateway", "registry")
FILES = frozenset(
    {
        "cli/test_bench_numbers.py",
        "cli/test_conversation.py",
        "cli/test_curl.py",
        "cli/test_plan.py",
        "cli/test_restart.py",
        "client/test_course.py",
        "client/test_directory.py",
        "client/test_requests.py",
        "parity/test_order.py",
        "worker/test_aliases.py",
        "worker/test_amounts.py",
        "worker/test_attachment.py",
        "worker/test_begun.py",
        "worker/test_calls.py",
        "worker/test_completion.py",
        "worker/test_constraint_reading.py",
        "worker/test_drafting.py",
        "worker/test_lease.py",
        "worker/test_load_failures.py",
        "worker/test_outbox.py",
        "worker/test_pacing.py",
        "worker/test_prediction.py",
        "worker/test_queue_bound.py",
        "worker/test_scheduler.py",
        "worker/test_scheduler_drafts.py",
        "worker/test_scheduler_matchers.py",
        "worker/test_scheduler_moved.py",
        "worker/test_scheduler_prefixes.py",
        "worker/test_scheduler_turns.py",
        "worker/test_speculation.py",
        "worker/test_stop.py",
        "worker/test_text_pool.py",
        "worker/sidecar/test_addresses.py",
        "worker/sidecar/test_cards.py",
        "worker/sidecar/test_client.py",
        "worker/sidecar/test_pieces.py",
        "worker/sidecar/test_places.py",
        "worker/sidecar/test_requests.py",
        "worker/test_validate.py",
        "worker/test_vector_stream.py",
        "worker/test_vllm_options.py",
        "worker/test_vllm_translation.py",
    }
)
LARGE = ("torch", "transformers", "sentence_transformers")


def is_fast(path: Path) -> bool:
    """Whether a test file is in the fast tier; folders are if something in them may be."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        return name == "." or name.startswith(FOLDERS) or any(file.startswith(f"{name}/") for file in FILES)
    return name.partition("/")[0] in FOLDERS or name in FILES or path.name in ("__init__.py", "conftest.py")
