"""The benchmark of the chat: its bundles, what it computes, and that it measures what it says."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tinylm.config import ModelConfig
from tinylm.errors import TinyLMError
from tinylm.runtime import ChatModel
from tinylm.runtime.verification import verify_bundle

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODULES = ("bundles", "commands", "conversations", "graphs", "chat")
TINY = ModelConfig(
    d_model=32, nhead=2, num_layers=2, dim_feedforward=48, vocab_size=320, context_length=256, tie_embeddings=False
)
ECHO = "while True:\n text = input('> ')\n print(text.upper() * 2)"


@pytest.fixture(scope="module")
def benchmarks():
    """The modules, which find each other as they do when a script among them runs."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def random_bundle(benchmarks, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    benchmarks.bundles.write_bundle(path, TINY)
    return path


@pytest.fixture
def place(benchmarks, tmp_path):
    return benchmarks.commands.Place(tmp_path)


def test_random_bundle_is_a_whole_one(random_bundle, must):
    assert verify_bundle(random_bundle).model == TINY
    assert ChatModel(random_bundle).tokenizer.vocab_size == TINY.vocab_size
    assert "bits per byte" in must("info", random_bundle, "--verify").output


@pytest.mark.parametrize("size", [300, 4096])
def test_made_up_words_fill_the_vocabulary(benchmarks, size):
    assert benchmarks.bundles.made_up_tokenizer(size).vocab_size == size


def test_vocabulary_that_no_words_fill_is_refused(benchmarks, monkeypatch):
    monkeypatch.setattr(benchmarks.bundles, "_SYLLABLES", ["la"])
    with pytest.raises(TinyLMError, match=r"fill a vocabulary of \d+, not of 4,096"):
        benchmarks.bundles.made_up_tokenizer(4096)


def test_replies_of_a_random_bundle_do_not_end_by_themselves(random_bundle):
    model = ChatModel(random_bundle)
    chat = model.start_chat(options=model.default_options(temperature=2, top_k=0, top_p=1, max_new_tokens=10_000))
    for _ in chat.send("hi"):
        pass
    assert chat.last_result.finish_reason == "context"


def test_token_that_is_never_said_is_a_token_like_any_other_before(benchmarks):
    import torch

    model = benchmarks.graphs.random_model(TINY)
    ids = torch.arange(100)[None]
    with torch.inference_mode():
        assert not (model(ids)[0, :, 2] == model(ids)[0].min(-1).values).all()
        benchmarks.bundles.never_say(model, 2)
        logits = model(ids)[0]
    others = torch.cat([logits[:, :2], logits[:, 3:]], dim=1)
    assert (others.min(-1).values - logits[:, 2] > 5).all()


def test_message_has_its_number_of_tokens(benchmarks, random_bundle):
    tokenizer = ChatModel(random_bundle).tokenizer
    first, second = (benchmarks.conversations.message(37, first) for first in (0, 5))
    assert len(tokenizer.encode(first)) == len(tokenizer.encode(second)) == 37
    assert tokenizer.encode(first)[0] != tokenizer.encode(second)[0]


def test_both_loops_are_timed_as_often(benchmarks, random_bundle):
    whole, bare = benchmarks.conversations.loop_seconds(random_bundle, context=40, tokens=20, repeats=3)
    assert len(whole) == len(bare) == 3
    assert min(whole + bare) > 0


def test_both_loops_run_on_one_session(benchmarks, random_bundle, monkeypatch):
    loaded = []
    original = benchmarks.conversations.session.load_onnx
    monkeypatch.setattr(
        benchmarks.conversations.session,
        "load_onnx",
        lambda path, threads: loaded.append(path) or original(path, threads),
    )
    benchmarks.conversations.loop_seconds(random_bundle, context=40, tokens=5, repeats=1)
    assert sorted(path.name for path in loaded) == ["decode.onnx", "model.onnx"]


def test_reply_that_is_shorter_than_the_bare_loop_is_no_measurement(benchmarks, random_bundle):
    with pytest.raises(TinyLMError, match="other work than the bare one: Result"):
        benchmarks.conversations.loop_seconds(random_bundle, context=200, tokens=100, repeats=1)


def test_second_turn_reuses_the_first_and_a_fresh_one_nothing(benchmarks, random_bundle, monkeypatch):
    results = []
    original = benchmarks.conversations.result_of
    monkeypatch.setattr(
        benchmarks.conversations, "result_of", lambda chat: results.append(original(chat)) or results[-1]
    )
    second, fresh = benchmarks.conversations.turn_seconds(random_bundle, first_tokens=30, new_tokens=9, repeats=2)
    assert len(second) == len(fresh) == 2
    # <bos>, <user>, nine digits and <assistant>, then 30 tokens, and while the user types <eos> and <user>
    assert [result.reused_tokens for result in results] == [44, 0] * 3
    assert [result.prompt_tokens for result in results] == [42 + 1 + 11, 12] * 3


def test_memory_is_compared_only_once_the_context_was_full(benchmarks, random_bundle):
    before, after = benchmarks.conversations.resident_mb(random_bundle, warm_up=8, turns=3, tokens=40)
    assert 10 < before <= after + 1
    with pytest.raises(TinyLMError, match="did not fill up"):
        benchmarks.conversations.resident_mb(random_bundle, warm_up=2, turns=1, tokens=4)


def test_overhead_is_what_the_whole_loop_takes_more(benchmarks):
    assert benchmarks.chat.overhead([1.5, 1.2, 1.2, 1.2, 9.0], [1.0, 1.0, 1.0, 7.0, 8.0]) == pytest.approx(0.2)


def test_spread(benchmarks):
    assert benchmarks.chat.spread("x", [5, 1, 2, 4, 3]) == {"x": 3, "x.quartiles": [2, 4]}


def test_two_things_take_turns_and_the_first_time_does_not_count(benchmarks):
    calls = []
    times = iter(range(100))

    def measure(name):
        calls.append(name)
        return next(times)

    first, second = benchmarks.commands.alternate(lambda: measure("a"), lambda: measure("b"), 3)
    assert "".join(calls) == "baabbaab"
    assert (first, second) == ([2, 5, 6], [3, 4, 7])


def test_commands_run_without_the_callers_options(benchmarks, place, monkeypatch):
    monkeypatch.setenv("TINYLM_CHAT_SEED", "7")
    monkeypatch.setenv("OTHER", "kept")
    place = benchmarks.commands.Place(place.folder)
    code = "import os; print(os.getcwd(), os.environ.get('TINYLM_CHAT_SEED'), os.environ['OTHER'])"
    assert place.output(benchmarks.commands.python(code)).split() == [str(place.folder), "None", "kept"]


def test_first_byte_is_timed_before_the_end(benchmarks, place, monkeypatch):
    # A clock that strikes when the command has ended
    clock = SimpleNamespace(perf_counter=lambda: float((place.folder / "ended").exists()))
    monkeypatch.setattr(benchmarks.commands, "time", clock)
    command = benchmarks.commands.python("import time; print('x', flush=True); time.sleep(0.5); open('ended', 'w')")
    assert place.seconds_to_first_byte(command) == 0
    (place.folder / "ended").unlink()
    assert place.seconds_to_end(command) == 1


def test_command_that_fails_is_no_measurement(benchmarks, place):
    python = benchmarks.commands.python
    with pytest.raises(TinyLMError, match="exit code 3"):
        place.seconds_to_end(python("raise SystemExit(3)"))
    with pytest.raises(TinyLMError, match="exit code 4"):
        place.seconds_to_first_byte(python("print(1); raise SystemExit(4)"))
    with pytest.raises(TinyLMError, match="printed nothing"):
        place.seconds_to_first_byte(python("pass"))


def test_terminal_is_one_and_waits_for_the_answer(benchmarks, place):
    code = "import sys, time; assert sys.stdin.isatty() and sys.stdout.isatty()\n" + ECHO
    with benchmarks.commands.Terminal(benchmarks.commands.python(code), place) as terminal:
        assert "ABAB" in terminal.say("ab")
        assert "CDCD" in terminal.say("cd")
        assert 1 < terminal.memory_mb("VmRSS") <= terminal.memory_mb("VmHWM")
        assert terminal.cpu_seconds() >= 0


def test_cpu_time_of_a_terminal_is_its_programs(benchmarks, place):
    work = "until = time.process_time() + 0.5\nwhile time.process_time() < until: pass"
    code = f"import time\ninput('> ')\n{work}\ninput('done')"
    with benchmarks.commands.Terminal(benchmarks.commands.python(code), place) as terminal:
        before = terminal.cpu_seconds()
        assert "done" in terminal.say("work")
        assert terminal.cpu_seconds() - before > 0.4


def test_program_that_ends_is_named(benchmarks, place):
    command = benchmarks.commands.python("print('bye')")
    with pytest.raises(TinyLMError, match="ended, saying b'bye"), benchmarks.commands.Terminal(command, place):
        pass


def test_whole_chat_in_a_terminal(benchmarks, place, random_bundle):
    command = [benchmarks.commands.TINYLM, "chat", str(random_bundle), "--max-new-tokens", "150"]
    with benchmarks.commands.Terminal(command, place) as terminal:
        for _ in range(3):
            terminal.say(benchmarks.conversations.message(9))
        assert "context 256/256" in terminal.say("/stats")


def test_torch_never_enters_the_process_that_measures():
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import chat; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_every_figure_has_its_name_and_target(benchmarks):
    assert {name: target.most for name, target in benchmarks.chat.TARGETS.items()} == {
        "first_token_ratio": 3,
        "help_ratio": 2.5,
        "peak_rss_mb": 120,
        "rss_growth_mb": 2,
        "idle_cpu_percent": 1,
        "loop_overhead_4k": 0.15,
        "loop_overhead_32k": 0.30,
        "second_turn_ratio": 1.3,
    }


@pytest.fixture
def measured(benchmarks, monkeypatch):
    """Two figures that are quickly measured, the second of which can be made to fail."""
    outcome = {"fails": False}

    def idle_cpu_percent(bench):
        return {"idle_cpu_percent": 0.123456, "idle_s": 1.0, "idle_s.quartiles": [0.5, 2.0]}

    def help_ratio(bench):
        if outcome["fails"]:
            raise TinyLMError("tinylm --help: exit code 1")
        return {"help_ratio": 4.0}

    targets = {f.__name__: benchmarks.chat.Target(1, f) for f in (help_ratio, idle_cpu_percent)}
    monkeypatch.setattr(benchmarks.chat, "TARGETS", targets)
    return outcome


def test_results_end_with_one_json_line(benchmarks, measured, capsys, tmp_path):
    assert benchmarks.chat.main(["--out", str(tmp_path / "results.json")]) == 0
    printed = capsys.readouterr().out
    assert "0.5 - 2" in printed
    assert "<= 1" in printed
    results = json.loads(printed.splitlines()[-1])
    assert results == json.loads((tmp_path / "results.json").read_text())
    figures = {"help_ratio": 4.0, "idle_cpu_percent": 0.1235, "idle_s": 1.0, "idle_s.quartiles": [0.5, 2.0]}
    assert results == {"ratios": {}, "figures": figures}


def test_figure_that_cannot_be_measured_leaves_the_others(benchmarks, measured, capsys):
    measured["fails"] = True
    assert benchmarks.chat.main([]) == 1
    printed = capsys.readouterr()
    assert "Error: help_ratio: tinylm --help: exit code 1" in printed.err
    assert "idle_cpu_percent" in json.loads(printed.out.splitlines()[-1])["figures"]
    assert benchmarks.chat.main(["--only", "idle_cpu_percent"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "speed"], "--only: invalid choice: 'speed'"),
        (["--out", "missing/results.json"], "--out missing/results.json: cannot be written"),
    ],
)
def test_wrong_arguments_are_named(benchmarks, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        benchmarks.chat.parse_arguments(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
