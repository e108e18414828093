"""What stands behind a spec's question mark: which options reach vLLM, and how others are refused."""

import json
from pathlib import Path

import pytest

from inferloom_worker.engines.vllm.arguments import ALLOWED, REFUSED
from inferloom_worker.engines.vllm.encoder_folder import normalizes
from inferloom_worker.engines.vllm.options import argv, check_names, read_query
from inferloom_worker.hosting.finding import find_model
from inferloom_worker.sourcing.flags import parse_model_flag
from inferloom_worker.sourcing.sources import SourceError

KNOWN = (
    "tensor_parallel_size",
    "max_model_len",
    "dtype",
    "enforce_eager",
    "eplb_config",
    "trust_remote_code",
)


def test_options_become_the_command_line_that_says_the_same() -> None:
    """With dashes or without; switches by their presence, values decoded."""
    query = read_query(
        "tensor-parallel-size=2&enforce_eager=true&enable_lora=no&hf_overrides=%7B%22rope_theta%22%3A1%7D"
    )
    assert query.carry is None
    assert argv(query.given, {"enforce_eager", "enable_lora"}) == [
        "--tensor-parallel-size=2",
        "--enforce-eager",
        "--no-enable-lora",
        '--hf-overrides={"rope_theta":1}',
    ]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("tensor_paralel_size=2", "did you mean tensor_parallel_size"),
        ("tensor_parallel_size=2&tensor-parallel-size=4", "there twice"),
        ("model=/other", "the spec names the model"),
        ("trust_remote_code=true", "no code is run"),
        *(
            (f"load_format={word}", "pickles are not loaded")
            for word in ("pt", "PT", "hf", "auto", "npcache", "")
        ),
        *(
            (f"load_format={word}", "none of")
            for word in ("dummy", "ipc_cache", "tensorizer", "modelexpress")
        ),
        *(
            (f"{name}=a.B", f"{name} is not for a spec to say: it has code imported")
            for name in ("scheduler_cls", "worker_cls", "worker_extension_cls", "io_processor_plugin")
        ),
        ("reasoning_parser_plugin=/p.py", "code imported"),
        ("log_config_file=/l.json", "code imported"),
        ('kv_transfer_config={"kv_connector_module_path":"a"}', "code imported"),
        ('model_class_overrides={"A":"b:C"}', "code imported"),
        ('compilation_config={"backend":"a.B"}', "code imported"),
        ('structured_outputs_config={"reasoning_parser_plugin":"/p.py"}', "constraints need"),
        ('speculative_config={"method":"custom_class","model":"a.B"}', "spec_method, spec_model and"),
        ("spec_method=custom_class&spec_model=a.B", "no class is imported"),
        ("spec_model=a.B&spec_tokens=2", "absolute path"),
        ("distributed_executor_backend=a.B", "no class is imported"),
        ('hf_overrides={"architectures":["X"]}', "JSON object of"),
        ("hf_overrides=a", "JSON object of"),
        ("master_addr=10.0.0.9&nnodes=2", "the worker's own"),
        ("download_dir=/etc", "the worker's own"),
        ("eplb_config={}", "eplb_config is not for a spec to say: it is not known"),
        ("carry=perhaps", "carry is true or false"),
        ("logits_processors=a:B", "brings its own"),
    ],
)
def test_what_is_no_option_is_refused_by_name(query: str, words: str) -> None:
    """Unknown, said twice, the worker's own to say, or unsafe."""
    with pytest.raises(SourceError, match=words):
        check_names(read_query(query), KNOWN)


def test_what_is_harmless_may_be_said() -> None:
    """Numbers, switches, words; some with some values only."""
    query = read_query(
        "tensor_parallel_size=2&dtype=auto&enforce_eager=true&trust_remote_code=false&load_format=FastSafetensors"
        "&distributed_executor_backend=ray&spec_method=eagle3&spec_model=/m/draft&spec_tokens=3"
    )
    check_names(query, query.given)
    assert not ALLOWED & REFUSED.keys()


def test_a_switch_says_yes_or_no() -> None:
    """And nothing else."""
    with pytest.raises(SourceError, match="enforce_eager is true or false, not 'maybe'"):
        argv(read_query("enforce_eager=maybe").given, {"enforce_eager"})


def test_what_computes_the_same_has_the_same_words() -> None:
    """Bounds are no part of it; whether requests are carried is."""
    of = [read_query(text).computing() for text in ("dtype=float32", "max_num_seqs=9&dtype=float32")]
    assert of[0] == of[1]
    assert of[0] != read_query("dtype=bfloat16").computing()
    assert of[0] != read_query("dtype=float32&carry=off").computing()


@pytest.mark.parametrize(
    ("flag", "name"),
    [("chat=vllm:/m/x?a=1&b=2", "chat"), ("vllm:/m/x?a=1", "/m/x"), ("vllm:org/x?a=1", "org/x")],
)
def test_a_name_is_told_from_an_option(flag: str, name: str) -> None:
    """An equals sign behind the question mark names nothing."""
    if name.startswith("/"):
        with pytest.raises(SourceError, match="cannot be a model's name"):
            parse_model_flag(flag)
        return
    found, spec = parse_model_flag(flag)
    assert (found, spec) == (name, flag.removeprefix("chat="))


def test_only_an_engine_with_options_has_some() -> None:
    """For the others a question mark is a part of the model's name."""
    with pytest.raises(SourceError, match=r"/nowhere\?a=1 does not exist"):
        find_model("torch:/nowhere?a=1")
    with pytest.raises(SourceError, match="/nowhere does not exist"):
        find_model("vllm:/nowhere?a=1")


def test_an_embedding_folder_says_what_vllm_does_not(tmp_path: Path) -> None:
    """Whether vectors have unit length; a prompt that belongs before texts is refused."""
    assert not normalizes(tmp_path)
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in kinds]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert normalizes(tmp_path)
    (tmp_path / "config_sentence_transformers.json").write_text('{"default_prompt_name": "query"}')
    with pytest.raises(SourceError, match="puts no prompt"):
        normalizes(tmp_path)
