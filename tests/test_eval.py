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
    alone = [values(must("eval", runs["classic"], "--data", path, "--replies", 0, "--json")) for path in paths]
    arguments = ["eval", runs["classic"], "--data", paths[0], "--data", paths[1], "--replies", 0]
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
        "",
        "",
        "",
        "",
        "",
        "",
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
    raw = samples / "raw.txt"
    for arguments in (
        ["--world", "--data", raw],
        ["--world", "--train-data", raw],
        ["--world", "--as", "text"],
        ["--as", "text"],
        ["--assistant", "Ann"],
        ["--documents", "file"],
        ["--data", raw, "--user", "Ann"],
    ):
        result = run_cli("eval", bundle, *arguments)
        assert (result.exit_code, result.stderr.count("Error: ")) == (2, 1)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A chat of people, as a messenger exports it."""
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    path = tmp_path_factory.mktemp("log") / "WhatsApp Chat.txt"
    lines = [
        f"{day:02}/03/2024, 10:{minute:02} - {who}: {text}\n"
        for day, name in enumerate(names, 1)
        for minute, who, text in ((0, "Ann", f"What is {name}?"), (1, "Bob", f"It is number {name}, I think."))
    ]
    path.write_text("".join(lines))
    return path


def test_replies_of_a_chat_of_people(log, runs, bundle, must, run_cli):
    unknown = run_cli("eval", bundle, "--data", log, "--as", "conversations")
    assert unknown.exit_code == 1
    assert "--assistant NAME" in unknown.stderr
    arguments = ["--data", log, "--as", "conversations", "--assistant", "Bob"]
    result = must("eval", bundle, *arguments, "--train-data", log, "--json")
    found = values(result)
    assert found["bytes"] == sum(len(line.split(": ")[1]) for line in log.read_text().splitlines() if "Bob" in line)
    assert found["replies"] == found["ranked"] == 12
    assert 0 <= found["hits_at_1_of_10"] <= 1
    assert found["hits_at_1_of_10_baseline"] == max(found["hits_at_1_of_10_baselines"].values()) >= 0.1
    # The small model may say less than four words
    assert 0 <= (found["repetition"] or 0) <= 1
    assert found["repetition_baseline"] == 0
    # The true replies are in what the model is said to have been trained on
    assert found["longest_copied_run_baseline"] == 6
    assert found["longest_copied_run"] >= 0
    of_run = must("eval", runs["classic"], *arguments, "--json")
    assert values(of_run)["hits_at_1_of_10_baselines"] == found["hits_at_1_of_10_baselines"]
    assert values(must("eval", bundle, *arguments, "--replies", 5, "--json"))["replies"] == 5


def test_replies_are_told_in_words(log, bundle, must):
    arguments = ["--data", log, "--as", "conversations", "--assistant", "Bob"]
    without = must("eval", bundle, *arguments)
    assert "not compared with the texts of training (a bundle does not name them)" in without.stderr
    lines = without.stdout.splitlines()[3:]
    assert lines[0] == "12 replies in held-out conversations"
    assert lines[1].startswith("found among ten (hits@1)")
    assert "chance 10.0%, unigram " in lines[1]
    assert lines[2].startswith("repeated runs of four words")
    assert len(lines) == 3
    compared = must("eval", bundle, *arguments, "--train-data", log).stdout.splitlines()[3:]
    assert compared[:3] == lines
    assert compared[3].startswith("longest run copied in training")
    assert compared[3].endswith("people 6")


def test_a_run_whose_training_data_is_gone(log, settings, must, tmp_path, samples):
    file = tmp_path / "raw.txt"
    file.write_bytes((samples / "raw.txt").read_bytes())
    must("train", "--out", tmp_path / "run", "--steps", 2, *settings(), "--pretrain", file)
    arguments = ["eval", tmp_path / "run", "--data", log, "--as", "conversations", "--assistant", "Bob", "--json"]
    there = must(*arguments)
    assert values(there)["longest_copied_run"] is not None
    file.write_text("Something else.\n\nAnd more.\n")
    changed = must(*arguments)
    assert values(changed)["longest_copied_run"] is None
    assert "changed since the run began" in changed.stderr
    file.unlink()
    gone = must(*arguments)
    assert values(gone)["longest_copied_run"] is None
    assert "raw.txt: no such file" in gone.stderr
    assert "--train-data PATH" in gone.stderr
