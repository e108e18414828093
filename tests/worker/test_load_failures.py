"""What a load that fails says, whatever the libraries raise."""

import pytest

from inferloom_worker.hosting.load_failures import closed_on_failure, refusing, timed
from inferloom_worker.sourcing.sources import SourceError


class Started:
    """What has a thread."""

    closed = False

    def close(self) -> None:
        """End it."""
        self.closed = True


def told(failure: BaseException, spec: str = "hf:a/model") -> str:
    """What a failure becomes."""
    with pytest.raises(SourceError) as raised, refusing(spec):
        raise failure
    return str(raised.value)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ValueError("two\n  lines"), "hf:a/model cannot be loaded: two lines"),
        (MemoryError(), "hf:a/model cannot be loaded: MemoryError"),
        (SourceError("it holds nothing"), "hf:a/model: it holds nothing"),
        (SourceError("model holds nothing"), "model holds nothing"),
        (
            KeyError("rope"),
            "hf:a/model cannot be loaded: it is damaged or of a form that is not known (KeyError: 'rope')",
        ),
    ],
)
def test_whatever_is_raised_is_a_sentence_about_the_model(failure: Exception, words: str) -> None:
    """In one line, which names it once."""
    assert told(failure) == words


def test_what_is_told_is_bounded() -> None:
    """A library may repeat a whole file."""
    assert len(told(ValueError("x" * 10_000))) < 500
    assert len(told(ValueError("x"), "s" * 10_000)) < 500


def test_an_end_of_the_process_is_no_sentence() -> None:
    """Nobody waits for one then."""
    with pytest.raises(KeyboardInterrupt), refusing("m"):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("library", "extra"), [("torch", "torch"), ("vllm", "vllm")])
def test_a_library_that_is_missing_is_named_with_what_brings_it(library: str, extra: str) -> None:
    """But for our own, whose lack is a bug."""
    words = rf"m cannot be loaded: {library} is not installed.*\[{extra}\]"
    with pytest.raises(SourceError, match=words), timed("name", "m", "torch"):
        raise ModuleNotFoundError(name=library)
    with pytest.raises(SourceError, match="damaged"), timed("name", "m", "torch"):
        raise ModuleNotFoundError(name="inferloom_worker")


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_what_was_started_for_nothing_is_closed(failure: type[BaseException]) -> None:
    """Whatever it was that failed; what comes to something is not."""
    started = Started()
    with closed_on_failure(started) as same:
        assert same is started
    assert not started.closed
    with pytest.raises(failure), closed_on_failure(started):
        raise failure
    assert started.closed
