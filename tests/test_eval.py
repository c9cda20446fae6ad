"""`tinylm eval` on files of every kind, of runs and bundles."""

import json

import pytest

from tinylm.errors import DataError, TinyLMError
from tinylm.evaluation import Score
from tinylm.quality import HELD_OUT, evaluate, evaluate_world


def values(result):
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def files(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("files")
    (folder / "empty.txt").touch()
    (folder / "empty.jsonl").touch()
    (folder / "binary.txt").write_bytes(bytes(range(256)))
    (folder / "silent.jsonl").write_text('{"messages": [{"role": "user", "content": "Hello?"}]}\n')
    (folder / "chats.csv").write_text("question,answer\n" + '"Who are you?","I am Pip, hello."\n' * 3)
    return folder


@pytest.mark.parametrize("name", ["raw.txt", "messages.jsonl"])
def test_torch_fp32_and_int8_agree(name, runs, bundles, must, samples):
    subjects = (runs["classic"], bundles["classic", "fp32"], bundles["classic", "int8"])
    run, fp32, int8 = (values(must("eval", subject, "--data", samples / name, "--json")) for subject in subjects)
    assert fp32["bits_per_byte"] == pytest.approx(run["bits_per_byte"], rel=1e-5)
    assert int8["bits_per_byte"] == pytest.approx(run["bits_per_byte"], rel=5e-3)
    assert run["tokens"] == fp32["tokens"] == int8["tokens"]
    assert run["bytes"] == fp32["bytes"] == int8["bytes"]


def test_several_files_are_scored_one_by_one_and_together(runs, must, samples):
    paths = [samples / "raw.txt", samples / "messages.jsonl"]
    alone = [values(must("eval", runs["classic"], "--data", path, "--json")) for path in paths]
    arguments = ["eval", runs["classic"], "--data", paths[0], "--data", paths[1]]
    both = values(must(*arguments, "--json"))
    assert list(both) == ["bits_per_byte", "loss", "tokens", "bytes", "files"]
    for one, of_both, path in zip(alone, both["files"], paths, strict=True):
        assert of_both == {"file": str(path), **one}
    assert both["tokens"] == sum(one["tokens"] for one in alone)
    assert both["loss"] == pytest.approx(sum(one["loss"] * one["tokens"] for one in alone) / both["tokens"])
    assert both["bits_per_byte"] == pytest.approx(
        sum(one["bits_per_byte"] * one["bytes"] for one in alone) / both["bytes"]
    )
    lines = must(*arguments).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["bits", "raw.txt", "messages.jsonl", "all"]
    assert lines[1].split()[1:] == [
        f"{alone[0]['bits_per_byte']:.4f}",
        f"{alone[0]['loss']:.4f}",
        f"{alone[0]['tokens']:,}",
        f"{alone[0]['bytes']:,}",
    ]


def test_what_a_file_holds_can_be_said(runs, must, run_cli, samples):
    guessed, text, chats = (
        values(must("eval", runs["classic"], "--data", samples / "tagged.txt", "--json", *extra))
        for extra in ([], ["--as", "text"], ["--as", "conversations"])
    )
    assert guessed == text
    assert chats["tokens"] < text["tokens"]
    wrong = run_cli("eval", runs["classic"], "--data", samples / "raw.txt", "--as", "conversations")
    assert wrong.exit_code == 1
    assert "raw.txt" in wrong.stderr.splitlines()[-1]
    assert run_cli("eval", runs["classic"], "--as", "text").exit_code == 2


def test_conversations_on_a_model_that_never_saw_any(text_run, text_bundle, runs, must, samples):
    for subject in (text_run, text_bundle):
        result = must("eval", subject, "--data", samples / "messages.jsonl", "--json")
        assert "was never fine-tuned" in result.stderr
        assert values(result)["tokens"] > 0
    assert "never fine-tuned" not in must("eval", runs["classic"], "--data", samples / "messages.jsonl").stderr
    assert "never fine-tuned" not in must("eval", text_run, "--data", samples / "raw.txt").stderr


def test_tables_of_questions_and_answers(runs, must, files):
    assert values(must("eval", runs["classic"], "--data", files / "chats.csv", "--json"))["bytes"] == 3 * len(
        "I am Pip, hello."
    )


@pytest.mark.parametrize("name", ["empty.txt", "empty.jsonl", "binary.txt", "silent.jsonl", "missing.txt", "."])
@pytest.mark.parametrize("kind", ["run", "bundle"])
def test_files_that_cannot_be_scored_are_one_error(name, kind, runs, bundle, files, run_cli):
    result = run_cli("eval", runs["classic"] if kind == "run" else bundle, "--data", files / name)
    assert result.exit_code == 1
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert errors[0].startswith(f"Error: {files / name}")
    assert result.stdout == ""


def test_a_part_of_a_large_file_is_scored_unless_told_otherwise(runs, must, tmp_path):
    path = tmp_path / "large.txt"
    path.write_text("\n\n".join(f"Pip counts {number} leaves in the garden." for number in range(900)))
    part, whole = (must("eval", runs["classic"], "--data", path, "--json", *extra) for extra in ([], ["--full"]))
    assert 4096 <= values(part)["tokens"] < 4096 + 96 < values(whole)["tokens"]
    assert "tokens scored, spread over the file; --full scores all" in part.stderr
    assert "--full" not in whole.stderr
    assert values(whole)["bytes"] == sum(len(line) for line in path.read_text().split("\n\n"))


def test_the_world_is_told_in_words(bundle, must):
    result = must("eval", bundle, "--world")
    # The small model's context holds less than the longest of them
    assert "do not fit the context of 96 tokens and count as wrong" in result.stderr
    lines = result.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "right replies",
        "of facts told in earlier turns",
        "best constant reply",
    ]
    assert all("%" in line for line in lines)


def test_from_python(runs, bundle, must, samples):
    path = samples / "messages.jsonl"
    lines, seen = [], []
    scores = evaluate(bundle, [path], notify=lines.append, progress=lambda *what: seen.append(what))
    assert list(scores) == [str(path)]
    told = values(must("eval", bundle, "--data", path, "--json"))
    assert (scores[str(path)].bits_per_byte, scores[str(path)].tokens) == (told["bits_per_byte"], told["tokens"])
    assert lines[-1].startswith(str(path))
    assert [name for name, _, _ in seen] == ["messages.jsonl"] * len(seen)
    assert seen[-1][1] == seen[-1][2] > 0
    of_run = evaluate(runs["classic"])
    assert list(of_run) == [HELD_OUT]
    assert of_run[HELD_OUT].bits_per_byte == values(must("eval", runs["classic"], "--json"))["bits_per_byte"]
    with pytest.raises(TinyLMError, match="a bundle holds no held-out text"):
        evaluate(bundle)
    with pytest.raises(DataError, match="no such file"):
        evaluate(bundle, ["missing.txt"])


def test_the_world_from_python(text_bundle, must):
    lines, seen = [], []
    result = evaluate_world(text_bundle, notify=lines.append, progress=lambda *what: seen.append(what))
    assert (result.accuracy, result.n) == (
        values(must("eval", text_bundle, "--world", "--json"))["accuracy"],
        len(seen),
    )
    assert "do not fit the context" in lines[0]


def test_the_score_of_several_texts():
    total = Score.total([Score(2.0, 3, 4), Score(1.0, 1, 2)])
    assert (total.nll, total.tokens, total.bytes) == (3.0, 4, 6)
    assert Score.total([]) == Score(0, 0, 0)


def test_options_that_do_not_go_together(bundle, run_cli, samples):
    for arguments in (["--world", "--data", samples / "raw.txt"], ["--world", "--as", "text"], ["--as", "text"]):
        result = run_cli("eval", bundle, *arguments)
        assert (result.exit_code, result.stderr.count("Error: ")) == (2, 1)
