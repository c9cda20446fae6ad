"""Inspection of data files: statistics, problems, and the report."""

import json
import os
import pty
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import TokenArray, bounds_of

from tinylm.data.dataset.reservoir import BoundedSample, DuplicateCounter
from tinylm.data.inspection.checks import findings_of
from tinylm.data.inspection.inspection import inspect_files
from tinylm.data.inspection.token_statistics import clipped

ROLES = {"S": "system", "U": "user", "A": "assistant"}
ENTRY = "import sys; from tinylm.cli.main import main; sys.argv[0] = 'tinylm'; main()"


def chat(*turns: str) -> list[dict[str, str]]:
    """A conversation from turns such as "U:Hi"."""
    return [{"role": ROLES[turn[0]], "content": turn[2:]} for turn in turns]


def write(path, conversations):
    path.write_text("".join(json.dumps({"messages": messages}) + "\n" for messages in conversations))
    return path


def look(*paths, **options):
    return inspect_files(paths, **{"tokenizer": 320, "context_length": 256, **options})


def problems(inspection):
    return {(finding.severity, finding.problem) for finding in findings_of(inspection)}


VARIED = [chat(f"U:question number {number}", f"A:the answer is {number * 7}") for number in range(40)]


def test_roles_are_counted(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        [
            chat("U:a", "A:b"),
            chat("S:s", "U:a", "A:b"),
            chat("A:hello", "U:a", "A:b"),
            chat("U:a", "A:b", "U:bye"),
            chat("U:a", "S:now", "A:b"),
            chat("U:a"),
        ],
    )
    facts = look(path).kinds["conversations"]
    assert (facts.count, facts.turns, facts.skipped) == (5, 14, {"no assistant turn": 1})
    roles = facts.roles
    assert (roles.alternating, roles.opened_by_assistant, roles.ended_by_user) == (2, 1, 1)
    assert (roles.with_system, roles.system_in_the_middle) == (1, 1)


def test_tokens_are_those_of_training(tmp_path, samples):
    from tinylm.chat_format import encode_conversation, loss_mask
    from tinylm.data import load_conversation_data
    from tinylm.data.dataset.packing import PackedConversations
    from tinylm.data.dataset.tokens import tokenize_all
    from tinylm.runtime.chat_model import DEMO_BUNDLE
    from tinylm.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(DEMO_BUNDLE / "tokenizer.model")
    path = samples / "tagged.txt"
    tokens = look(path, tokenizer=tokenizer, context_length=40).kinds["conversations"].tokens
    encoded = [encode_conversation(tokenizer, conversation) for conversation in load_conversation_data(path)]
    lengths = sorted(len(ids) for ids in encoded)
    assert tokens.total == sum(lengths)
    assert (tokens.median, tokens.longest) == (lengths[len(lengths) // 2], lengths[-1])
    supervised = sum(loss_mask(tokenizer, np.array(ids)).sum() for ids in encoded)
    assert tokens.supervised == pytest.approx(supervised / sum(lengths))
    assert tokens.over_long == sum(length > 41 for length in lengths) / len(lengths)
    assert 0 < tokens.over_long < 1
    data = tokenize_all(load_conversation_data(path), tokenizer)
    rows = PackedConversations(TokenArray(data.ids), bounds_of(data), tokenizer, 40, 0)
    assert (tokens.supervised_lost > 0) == bool(rows.notes["turns_truncated"] or rows.notes["parts_without_reply"])
    assert look(path, tokenizer=tokenizer).kinds["conversations"].tokens.supervised_lost == 0
    assert tokens.characters_as_bytes == 0


def test_samples_show_the_loss_mask(tmp_path):
    inspection = look(write(tmp_path / "a.jsonl", [chat("S:s", "U:hi", "A:hello")]))
    assert inspection.samples == [
        [("<bos>\n<system> s\n<user> hi\n<assistant> ", False), ("hello<eos>", True)],
    ]
    (tmp_path / "a.txt").write_text("one")
    assert look(tmp_path / "a.txt").samples == [[("<bos>", False), ("one<eos>", True)]]
    (tmp_path / "a.txt").write_text("one " * 5000)
    ((_, text, end),) = look(tmp_path / "a.txt").samples
    assert (len(text[0]), end) == (1995, (" \u2026", False))


def test_clipped():
    spans = [("ab", False), ("cd", True)]
    assert clipped(spans, 4) == spans
    assert clipped(spans, 3) == [("ab", False), ("c", True), (" \u2026", False)]
    assert clipped(spans, 2) == [("ab", False), (" \u2026", False)]


@pytest.mark.parametrize(
    ("conversations", "options", "severity", "problem"),
    [
        (VARIED * 3, {}, "error", "67% of the conversations are duplicates (67% exact ones)"),
        (
            VARIED + [chat("U:Question  number 3", "A:The answer is 21")] * 10,
            {},
            "warning",
            "20% of the conversations are duplicates (18% exact ones)",
        ),
        ([chat(f"U:{n}", "A:I do not know.") for n in range(40)], {}, "error", "one reply is 100% of all replies"),
        (
            [both + both for both in VARIED],
            {"context_length": 16},
            "error",
            "100% of the conversations are longer than 16 tokens and are cut",
        ),
        (
            [chat(f"U:{'why ' * 40}{n}", f"A:{n}") for n in range(40)],
            {"context_length": 16},
            "error",
            "no supervised tokens: no reply fits a context of 16 tokens",
        ),
        (
            [chat(f"S:{'be kind and wise ' * 30}", f"U:{n}", f"A:{n}") for n in range(40)],
            {"context_length": 4096},
            "warning",
            "only 2.1% of the tokens are the assistant's",
        ),
        (VARIED + [chat("U:a")] * 60, {}, "error", "60% of the conversations are left out"),
        ([*VARIED[:9], chat("U:a", "A:")], {}, "warning", "10% of the conversations are left out"),
        (
            [chat(f"U:caf\u00c3\u00a9 {n}", f"A:{n}") for n in range(40)],
            {},
            "error",
            "100% of the conversations hold characters of a wrong encoding, such as \ufffd or \u00c3\u00a9",
        ),
        ([[*messages, *chat("U:bye")] for messages in VARIED], {}, "warning", "100% of the conversations end with the"),
        (VARIED, {}, "warning", "only 1,373 characters of conversations"),
    ],
)
def test_findings(tmp_path, conversations, options, severity, problem):
    inspection = look(write(tmp_path / "a.jsonl", conversations), **options)
    found = [finding for finding in findings_of(inspection) if finding.problem.startswith(problem)]
    if severity == "warning" and problem.startswith("10%"):
        # Just at the limit: not over it
        assert not found
        return
    assert [finding.severity for finding in found] == [severity]
    assert found[0].advice


def test_good_data_has_no_findings(tmp_path):
    words = ["the", "cat", "sat", "on", "a", "warm", "mat", "and", "saw", "some", "birds", "fly", "over", "houses"]
    path = write(
        tmp_path / "a.jsonl",
        [
            chat(f"U:{' '.join(words[n % 7 : n % 7 + 5])} {n}", f"A:{' '.join(words[n % 11 :])} so {n * 31 % 997}")
            for n in range(1500)
        ],
    )
    assert findings_of(look(path)) == []


def test_kinds_are_told_apart(tmp_path, samples):
    inspection = look(samples / "raw.txt", samples / "tagged.txt", samples / "documents.jsonl")
    assert [file.kind for file in inspection.files] == ["documents", "conversations", "documents"]
    assert {kind: facts.count for kind, facts in inspection.kinds.items()} == {"documents": 24, "conversations": 12}
    assert list(look(samples / "tagged.txt", kind="documents").kinds) == ["documents"]
    refused = look(samples / "raw.txt", kind="conversations")
    assert refused.kinds == {}
    assert "is this raw text? then give it to --pretrain" in refused.files[0].error


def test_what_cannot_be_read_is_a_finding_and_the_rest_is_looked_at(tmp_path):
    good = write(tmp_path / "good.jsonl", VARIED)
    broken = tmp_path / "broken.jsonl"
    broken.write_text(good.read_text() + "{")
    inspection = look(good, broken, tmp_path / "missing.txt")
    assert [file.read for file in inspection.files] == [40, 40, 0]
    errors = [finding for finding in findings_of(inspection) if finding.severity == "error"]
    assert [finding.problem.split(": ")[1] for finding in errors[:2]] == [f"{broken}:41", str(tmp_path / "missing.txt")]


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), max_size=300), st.integers(1, 200))
def test_a_sample_is_bounded_and_whole_while_it_can_be(sizes, limit):
    sample = BoundedSample(limit)
    for number, size in enumerate(sizes):
        sample.add(number, size)
    assert sample.items == sorted(set(sample.items))
    if sum(sizes) <= limit:
        assert sample.items == list(range(len(sizes)))
    else:
        assert sum(sizes[number] for number in sample.items) <= max(limit, 9)


def test_a_sample_is_taken_from_everywhere():
    sample = BoundedSample(1000)
    for number in range(100_000):
        sample.add(number, 1)
    assert 400 <= len(sample.items) <= 1000
    assert sum(sample.items) / len(sample.items) == pytest.approx(50_000, rel=0.1)


@pytest.mark.parametrize(("distinct", "copies"), [(100, 1), (100, 3), (20_000, 1), (20_000, 4)])
def test_duplicates_are_counted_or_estimated(distinct, copies):
    counter = DuplicateCounter(max_distinct=1000)
    for number in range(distinct * copies):
        counter.add(f"text {number % distinct}")
    assert counter.share == pytest.approx(1 - 1 / copies)
    assert (counter.looked_at == 1) == (distinct <= 1000)
    assert counter.commonest_share == pytest.approx(1 / distinct, rel=0.5 if distinct <= 1000 else 100)


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tinylm.data.inspection.inspection._SAMPLE_CHARACTERS", 20_000)
    peaks = []
    for megabytes in (1, 3):
        path = tmp_path / "a.csv"
        with path.open("w") as file:
            file.write("prompt,response\n")
            for number in range(megabytes * 10_000):
                file.write(f"question number {number},{'a quite long answer ' * 4}\n")
        tracemalloc.start()
        look(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The hashes of duplicates grow up to their limit
    assert peaks[1] - peaks[0] < 20e6


def test_the_command(tmp_path, run_cli, must, samples, runs):
    result = must("data", "inspect", samples / "pairs.csv")
    assert "12 conversations: CSV, prompt/response, UTF-8" in result.stdout
    assert "«" in result.stdout
    assert "\x1b" not in result.stdout
    assert max(map(len, must("data", "inspect", samples / "raw.txt", env={"COLUMNS": "80"}).stdout.splitlines())) <= 80
    result = must("data", "inspect", samples / "messages.parquet", "--tokenizer", runs["classic"], "--json")
    assert result.stdout.count("\n") == 1
    values = json.loads(result.stdout)
    assert values["ok"] is True
    assert values["tokenizer"] == f"of {runs['classic']}"
    assert values["kinds"]["conversations"]["count"] == 12
    assert values["files"][0]["form"] == "Parquet, messages"
    assert {finding["severity"] for finding in values["findings"]} == {"warning"}
    assert all(sample.count("«") == sample.count("»") > 0 for sample in values["samples"])
    file = runs["classic"] / "tokenizer.model"
    again = must("data", "inspect", samples / "messages.parquet", "--tokenizer", file, "--json")
    assert json.loads(again.stdout)["kinds"] == values["kinds"]


def test_the_command_fails_where_training_would_be_spoilt(tmp_path, run_cli):
    path = write(tmp_path / "a.jsonl", VARIED * 3)
    result = run_cli("data", "inspect", path)
    assert result.exit_code == 1
    assert "Error: 67% of the conversations are duplicates (67% exact ones)\n  what to do: " in result.stdout
    result = run_cli("data", "inspect", path, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False
    result = run_cli("data", "inspect", tmp_path / "missing.csv")
    assert result.exit_code == 1
    assert "missing.csv: no such file; check the path" in result.stdout.replace("\n", " ")
    assert run_cli("data", "inspect").exit_code == 2
    assert run_cli("data", "inspect", path, "--tokenizer", path, "--vocab-size", 400).exit_code == 2
    result = run_cli("data", "inspect", path, "--tokenizer", path)
    assert (result.exit_code, result.stderr.count("Error: ")) == (1, 1)


def test_a_terminal_gets_colour(samples):
    main, other = pty.openpty()
    command = [sys.executable, "-c", ENTRY, "data", "inspect", str(samples / "tagged.txt")]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdout=other, stderr=other, env=environment)
    os.close(other)
    shown = b""
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
    except OSError:
        pass  # Linux ends a terminal so
    os.close(main)
    assert process.wait(timeout=60) == 0
    assert b"\x1b[32m" in shown
    assert "«".encode() not in shown


def test_no_torch_is_needed(samples):
    blocked = "import sys; sys.modules['torch'] = None; " + ENTRY
    command = [sys.executable, "-c", blocked, "data", "inspect", str(samples / "tagged.txt"), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["ok"] is True


def first_line(*arguments, run_cli):
    return run_cli("data", "inspect", *arguments, env={"COLUMNS": "1000"}).stdout.split("\n")[0]


def test_the_first_line_is_a_verdict(tmp_path, run_cli):
    varied = write(tmp_path / "a.jsonl", VARIED)
    assert first_line(varied, run_cli=run_cli) == (
        "40 conversations (a user and an assistant who replies), read from JSON Lines, messages. "
        "You can train on this with --finetune, but: only 1,373 characters of conversations."
    )
    (tmp_path / "a.txt").write_text("One text.")
    assert first_line(tmp_path / "a.txt", run_cli=run_cli).startswith(
        "1 document (texts to continue), read from raw text."
    )
    thrice = write(tmp_path / "b.jsonl", VARIED * 3)
    assert ". Do not train on this yet: 67% of the conversations are duplicates" in first_line(thrice, run_cli=run_cli)
    missing = first_line(tmp_path / "missing.txt", run_cli=run_cli)
    assert missing.startswith("Nothing here can be trained on: cannot be read: ")
    assert json.loads(run_cli("data", "inspect", varied, "--json").stdout)["verdict"].startswith("40 conversations")


@pytest.mark.parametrize(
    ("arguments", "count"), [([], 3), (["--preview", 0], 0), (["--preview", 7], 7), (["--preview", 100], 40)]
)
def test_the_preview(tmp_path, run_cli, arguments, count):
    path = write(tmp_path / "a.jsonl", VARIED)
    assert len(json.loads(run_cli("data", "inspect", path, "--json", *arguments).stdout)["samples"]) == count


def test_people_are_named_on_the_command_line(tmp_path, run_cli):
    path = tmp_path / "chat.txt"
    path.write_text("".join(f"1/{n + 1}/24, 10:0{k} AM - {who}: {text} {n}\n" for n in range(9) for k, (who, text) in
                            enumerate([("Ruth", "how deep"), ("Tim", "so many metres")])))  # fmt: skip
    refused = run_cli("data", "inspect", path, "--json")
    values = json.loads(refused.stdout)
    assert (refused.exit_code, values["files"][0]["kind"]) == (1, None)
    assert values["findings"][0]["advice"] == "name the assistant; or read it as raw text: --as text"
    values = json.loads(run_cli("data", "inspect", path, "--assistant", "Tim", "--json").stdout)
    assert (values["ok"], values["kinds"]["conversations"]["count"]) == (True, 9)
    assert run_cli("data", "inspect", path, "--user", "Tim").exit_code == 2


def test_advice_can_be_followed(tmp_path, run_cli):
    """Raw text is offered where it works, and no context that is not allowed."""

    def advice(name, content, *arguments):
        (tmp_path / name).write_bytes(content)
        return json.loads(run_cli("data", "inspect", tmp_path / name, "--json", *arguments).stdout)["findings"][0][
            "advice"
        ]

    unclear = b"hi ||| hello\nbye ||| you\nno more\n"
    assert advice("a.txt", unclear) == "fix it or leave it out; or read it as raw text: --as text"
    for name, content in (("a.zip", b"PK\x03\x04"), ("a.pdf", b"%PDF-1.7"), ("a.html", b"<html>"), ("a.jsonl", b"{")):
        for arguments in ([], ["--as", "text"], ["--as", "conversations"]):
            assert advice(name, content, *arguments) == "fix it or leave it out"
    long = [chat(f"U:{n}", f"A:{'word ' * 70_000}{n}") for n in range(3)]
    inspection = look(write(tmp_path / "b.jsonl", long))
    assert all("context_length" not in finding.advice for finding in findings_of(inspection))


def test_many_files_are_summed_up(tmp_path, run_cli):
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"Text {number} one.\n\nText {number} two.\n")
    (tmp_path / "broken.jsonl").write_text("{")
    report = run_cli("data", "inspect", tmp_path).stdout
    assert len(report.splitlines()) < 50
    assert "61 files" in report
    assert "60 files, as " in report
    assert "blank lines part it into 2 documents" in report


def test_one_long_turn_takes_linear_time(tmp_path):
    """What is looked at does not grow with it: `benchmarks/README.md` has times."""
    looked_at = []
    for size in (300_000, 3_000_000):
        tracemalloc.start()
        facts = look(write(tmp_path / "a.jsonl", [chat("U:Go.", f"A:{'deep and cold. ' * (size // 15)}")]))
        looked_at.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert facts.kinds["conversations"].characters == pytest.approx(size, rel=0.01)
    assert looked_at[1] < 8 * looked_at[0]
