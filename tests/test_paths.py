"""What users name: files, folders and globs, with weights, or one clear line."""

import gzip
import json
import os
from pathlib import Path

import pytest

from tinylm.data.readers.paths import DataFile, find_files
from tinylm.errors import DataError


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "a.txt", "texts/z.txt", "texts/deep/c.md", "texts/deep/d.jsonl", "texts/.hidden.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}", "utf-8")
    (tmp_path / "texts" / ".git").mkdir()
    (tmp_path / "texts" / ".git" / "e.txt").write_text("no")
    (tmp_path / "texts" / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "texts" / "empty.txt").write_text("")
    (tmp_path / "texts" / "deep" / "f.TXT.gz").write_bytes(gzip.compress(b"packed"))
    return tmp_path


def found(*entries):
    return [(file.path.as_posix(), file.weight) for file in find_files(entries)]


def test_files_come_as_they_were_given(place):
    assert found("b.txt", "a.txt", "b.txt") == [("b.txt", 1.0), ("a.txt", 1.0), ("b.txt", 1.0)]
    assert find_files([Path("a.txt")]) == [DataFile(Path("a.txt"), 1.0)]
    assert find_files([]) == []


def test_a_folder_is_its_files_in_order(place):
    words = []
    files = find_files(["texts"], words.append)
    names = ["texts/deep/c.md", "texts/deep/d.jsonl", "texts/deep/f.TXT.gz", "texts/z.txt"]
    assert [file.path.as_posix() for file in files] == names
    assert words == ["texts: 2 files skipped, empty or of no known ending: empty.txt, picture.png"]
    assert find_files(["texts/"]) == files


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["a.txt", "b.txt"]),
        ("texts/**/*.md", ["texts/deep/c.md"]),
        ("[ab].tx?", ["a.txt", "b.txt"]),
        ("te*", ["texts/deep/c.md", "texts/deep/d.jsonl", "texts/deep/f.TXT.gz", "texts/z.txt"]),
        ("texts/pic*", ["texts/picture.png"]),
        (
            "texts/**",
            [
                "texts/deep/c.md",
                "texts/deep/d.jsonl",
                "texts/deep/f.TXT.gz",
                "texts/empty.txt",
                "texts/picture.png",
                "texts/z.txt",
            ],
        ),
    ],
)
def test_a_glob_is_what_it_matches(pattern, names, place):
    assert found(pattern) == [(name, 1.0) for name in names]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("a.txt=2", [("a.txt", 2.0)]),
        ("a.txt=0.5", [("a.txt", 0.5)]),
        (
            "texts=3",
            [(name, 3.0) for name in ("texts/deep/c.md", "texts/deep/d.jsonl", "texts/deep/f.TXT.gz", "texts/z.txt")],
        ),
        ("?.txt=1.5", [("a.txt", 1.5), ("b.txt", 1.5)]),
        ("nowhere.txt", [("nowhere.txt", 1.0)]),
        ("nowhere.txt=2", [("nowhere.txt", 2.0)]),
    ],
)
def test_weights(entry, expected, place):
    assert found(entry) == expected


def test_what_exists_under_the_whole_name_is_a_path(place):
    (place / "a.txt=2").write_text("a strange name")
    (place / "[x].txt").write_text("another")
    assert found("a.txt=2", "a.txt=2=3", "[x].txt") == [("a.txt=2", 1.0), ("a.txt=2", 3.0), ("[x].txt", 1.0)]


@pytest.mark.parametrize(
    ("entry", "where", "problem"),
    [
        ("a.txt=0", "a.txt", "its weight must be a number above 0, not 0"),
        ("a.txt=-1", "a.txt", "above 0"),
        ("a.txt=nan", "a.txt", "above 0"),
        ("a.txt=inf", "a.txt", "above 0"),
        ("a.txt=often", "a.txt=often", "a weight is a number, as in PATH=2"),
        ("*.parquet", "*.parquet", "no file matches"),
        ("*.parquet=2", "*.parquet", "no file matches"),
        ("bare", "bare", "holds no file to read; their names must end in .csv"),
    ],
)
def test_what_names_nothing(entry, where, problem, place):
    (place / "bare").mkdir()
    (place / "bare" / "x.png").write_text("x")
    with pytest.raises(DataError) as error:
        find_files([entry])
    assert str(error.value).startswith(f"{where}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_holds_itself_ends(place):
    (place / "texts" / "deep" / "again").symlink_to(place / "texts")
    assert len(find_files(["texts"])) == 4


def test_linked_and_closed_folders_are_said(place, monkeypatch):
    (place / "elsewhere").mkdir()
    (place / "texts" / "link").symlink_to(place / "elsewhere")
    (place / "texts" / "shut").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    # As root, every folder can be read
    monkeypatch.setattr(os, "scandir", refuse)
    words = []
    assert len(find_files(["texts"], words.append)) == 4
    assert words[1:] == [
        "texts: 1 linked folders skipped; name them to read them too: link",
        "texts: 1 folders skipped, which you have no permission to read: shut",
    ]
    with pytest.raises(DataError, match=r"shut: no permission to read it; change its permissions$"):
        find_files(["texts/shut"])


def small(*arguments):
    values = {
        "model.vocab_size": 300,
        "model.d_model": 16,
        "model.nhead": 1,
        "model.num_layers": 1,
        "model.dim_feedforward": 16,
        "model.context_length": 32,
        "train.batch_size": 2,
        "train.threads": 1,
        "train.precision": "fp32",
        "train.validations": 1,
    }
    return [
        "train",
        "--steps",
        4,
        *arguments,
        *(part for name, value in values.items() for part in ("--set", f"{name}={value}")),
    ]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A folder of texts, chats, and a cache of their own."""
    monkeypatch.setenv("TINYLM_DATA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a", "b"):
        text = "\n\n".join(f"{name} tells of {number * 37 % 101} frogs and {number} bells" for number in range(60))
        (folder / f"{name}.txt").write_text(text)
    chats = [
        {"messages": [{"role": "user", "content": f"how many? {n}"}, {"role": "assistant", "content": f"{n} frogs"}]}
        for n in range(60)
    ]
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, chats)))
    return tmp_path


def weights_of(run):
    return (run / "checkpoints" / "last" / "model.safetensors").read_bytes()


def test_training_from_a_folder_and_again_from_the_cache(corpus, must):
    common = small("--pretrain", corpus / "texts", "--finetune", f"{corpus / 'chats.jsonl'}=2")
    first = must(*common, "--out", corpus / "first")
    assert "tokenized before" not in first.stderr
    second = must(*common, "--out", corpus / "second", "--set", "train.threads=2")
    assert second.stderr.count("tokenized before, nothing is tokenized again") == 2
    assert "as trained before on this data" in second.stderr
    assert "a.txt: 60 read" in second.stderr
    assert (corpus / "first" / "tokenizer.model").read_bytes() == (corpus / "second" / "tokenizer.model").read_bytes()
    provenance = [json.loads((corpus / name / "provenance.json").read_text()) for name in ("first", "second")]
    assert provenance[0] == provenance[1]
    assert [file["name"] for file in provenance[0]["pretrain"]["files"]] == ["a.txt", "b.txt"]
    assert provenance[0]["finetune"]["files"][0]["weight"] == 2
    for name in ("pretrain.npz", "finetune.npz"):
        assert (corpus / "first" / "val" / name).read_bytes() == (corpus / "second" / "val" / name).read_bytes()
    must("train", "--pretrain", corpus / "texts", "--show-config")


def test_equal_seeds_give_equal_weights_with_and_without_the_cache(corpus, must, monkeypatch):
    common = small("--pretrain", corpus / "texts", "--finetune", corpus / "chats.jsonl", "--set", "data.replay=0.3")
    must(*common, "--out", corpus / "first")
    must(*common, "--out", corpus / "second")
    monkeypatch.setenv("TINYLM_DATA_CACHE", str(corpus / "other"))
    must(*common, "--out", corpus / "third")
    assert weights_of(corpus / "first") == weights_of(corpus / "second") == weights_of(corpus / "third")


def unfinish(run):
    state = run / "checkpoints" / "last" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "finished": False}))


def test_a_run_goes_on_only_with_its_files(corpus, must, run_cli):
    must(*small("--pretrain", corpus / "texts", "--out", corpus / "run"))
    unfinish(corpus / "run")
    (corpus / "texts" / "c.txt").write_text("one more\n\nand another")
    result = run_cli("train", "--resume", corpus / "run")
    assert result.exit_code == 1
    assert "pretrain: 3 files now, 2 when the run began" in result.stderr.splitlines()[-1]
    (corpus / "texts" / "c.txt").unlink()
    text = (corpus / "texts" / "b.txt").read_text()
    (corpus / "texts" / "b.txt").write_text(text.replace("frogs", "toads"))
    result = run_cli("train", "--resume", corpus / "run")
    assert "b.txt: changed since the run began" in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "problem", "code"),
    [
        (["--pretrain", "texts/*.csv"], "no file matches", 1),
        (["--pretrain", "texts=none"], "a weight is a number", 1),
        (["--pretrain", "texts=0"], "above 0", 1),
        (["--finetune", "chats.jsonl", "--set", "data.replay=0.5"], "data.replay", 2),
        (["--pretrain", "texts", "--set", "data.replay=1"], "data.replay", 2),
    ],
)
def test_what_cannot_be_trained_on(arguments, problem, code, corpus, run_cli, monkeypatch):
    monkeypatch.chdir(corpus)
    result = run_cli(*small(*arguments, "--out", "run"))
    assert (result.exit_code, result.stdout) == (code, "")
    assert problem in result.stderr.splitlines()[-1]
    assert not (corpus / "run").exists()


def test_inspect_takes_folders_and_globs(corpus, run_cli):
    result = run_cli("data", "inspect", corpus / "texts", corpus / "ch*.jsonl", "--json", "--vocab-size", 300)
    files = json.loads(result.stdout)["files"]
    assert [Path(file["path"]).name for file in files] == ["a.txt", "b.txt", "chats.jsonl"]
    assert [file["read"] for file in files] == [60, 60, 60]


def test_the_cache_can_be_seen_and_cleared(corpus, must):
    must(*small("--pretrain", corpus / "texts", "--out", corpus / "run"))
    shown = json.loads(must("data", "cache", "--json").stdout)
    assert (shown["folder"], shown["entries"]) == (str(corpus / "cache"), 3)
    assert shown["bytes"] == sum(path.stat().st_size for path in (corpus / "cache").rglob("*") if path.is_file())
    assert "3 entries" in must("data", "cache").stdout
    must("data", "cache", "--clear")
    assert list((corpus / "cache").iterdir()) == []
    assert json.loads(must("data", "cache", "--json").stdout)["entries"] == 0


def test_how_files_are_read_is_stored_with_a_run_and_part_of_the_caches_key(corpus, must, run_cli):
    log = corpus / "log.txt"
    log.write_text(
        "".join(
            f"1/{n % 28 + 1}/2{n // 28}, 10:0{k} AM - {who}: {text} {n}\n"
            for n in range(60)
            for k, (who, text) in enumerate([("Ruth", "how deep is pond"), ("Tim", "so many metres")])
        )
    )
    common = small("--finetune", log)
    refused = run_cli(*common, "--out", corpus / "none")
    assert refused.exit_code == 1
    assert 'messages are by people, "Ruth", "Tim"' in refused.stderr
    must(*common, "--out", corpus / "tim", "--assistant", "Tim")
    assert 'assistant = "Tim"' in (corpus / "tim" / "config.toml").read_text()
    # Not found in the cache: another reading of the same file
    other = must(*common, "--out", corpus / "ruth", "--assistant", "Ruth", "--user", "Tim")
    assert "tokenized before" not in other.stderr
    again = must(*common, "--out", corpus / "again", "--set", "data.assistant=tim")
    assert "tokenized before" in again.stderr
    unfinish(corpus / "ruth")
    resumed = must("train", "--resume", corpus / "ruth")
    assert "tokenized before" in resumed.stderr


def test_documents_on_the_command_line(corpus, must):
    book = corpus / "book.txt"
    book.write_text("".join(f"Part {n} is about {n * 37 % 101} frogs.\n\n***\n" for n in range(30)))
    for said, count in (("***", 30), ("file", 1)):
        result = must(
            *small("--pretrain", book, "--out", corpus / said.strip("*"), "--documents", said, "--show-config")
        )
        assert f'documents = "{said}"' in result.stdout
        result = run_inspect(must, book, said)
        assert result["files"][0]["read"] == count


def run_inspect(must, path, documents):
    return json.loads(must("data", "inspect", path, "--documents", documents, "--json").stdout)
