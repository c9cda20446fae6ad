"""Modes, the umask and symbolic links are kept, over every file that a command writes."""

import json
import os
import shutil
import stat
from contextlib import contextmanager

import pytest

from tinylm.data.dataset.disk_cache import DataCache
from tinylm.files import new_folder, recover_folder, write_file
from tinylm.manifest import read_manifest, verify_files
from tinylm.run_folder import load_state
from tinylm.runtime.saved_chats import SavedChat
from tinylm.user_cache import remember

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")

HELLO = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}]


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder):
    return {
        path.relative_to(folder).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink()
    }


def stopped_copy(run, target):
    """A copy of a run that can be continued."""
    shutil.copytree(run, target)
    path = target / "checkpoints" / "last" / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "finished": False, "step": state["plan"]["finetune"] - 1}))
    return target


@pytest.fixture
def write_everything(tmp_path, run_cli, must, settings, samples, runs, bundle):
    """Write a file of every kind, with every command that writes, below a folder."""

    def write(folder):
        train = ["train", "--pretrain", samples / "raw.txt", "--finetune", samples / "tagged.txt", "--steps", 4]
        run = folder / "run"
        if not run.is_dir() or not any(run.iterdir()):
            must(*train, "--tensorboard", *settings(), "--out", run)
        must("report", run)
        must("export", run, "--quantize", "--genai", "--overwrite", "--out", folder / "bundle", *LOOSE)
        must("chat", bundle, "--session", folder / "chats.jsonl", "--prompt", "Hi", "--max-new-tokens", 2)
        must("data", "world", folder / "world", "--documents", 3, "--conversations", 3)

    return write


LOOSE = ["--limit", "quality_loss_percent=99", "--limit", "greedy_agreement=0"]


def test_the_umask_is_honoured(tmp_path, write_everything):
    for mask in (0o077, 0o002):
        with umask(mask):
            write_everything(tmp_path / str(mask))
        for name, mode in modes(tmp_path / str(mask)).items():
            is_folder = (tmp_path / str(mask) / name).is_dir()
            private = name == "chats.jsonl"
            assert mode == (0o600 if private else (0o777 if is_folder else 0o666) & ~mask), name


def test_modes_and_links_of_what_is_written_again_are_kept(tmp_path, write_everything):
    write_everything(tmp_path / "all")
    for path in sorted((tmp_path / "all").rglob("*"), reverse=True):
        path.chmod(0o700 if path.is_dir() else 0o600)
    real = tmp_path / "real"
    real.mkdir()
    for name in ("run", "bundle", "chats.jsonl", "world/world.txt"):
        link = tmp_path / "all" / name
        link.rename(real / link.name)
        link.symlink_to(real / link.name)
    before = {folder.name: modes(folder) for folder in (tmp_path / "all", real)}
    written = (real / "chats.jsonl").stat().st_ino, (real / "bundle").stat().st_ino
    write_everything(tmp_path / "all")
    assert {folder.name: modes(folder) for folder in (tmp_path / "all", real)} == before
    for name in ("run", "bundle", "chats.jsonl", "world/world.txt"):
        assert (tmp_path / "all" / name).readlink() == real / (tmp_path / "all" / name).name
    # They were written indeed
    assert ((real / "chats.jsonl").stat().st_ino, (real / "bundle").stat().st_ino) != written
    assert len(SavedChat(real / "chats.jsonl").load()) == 4
    verify_files(tmp_path / "all" / "bundle", read_manifest(tmp_path / "all" / "bundle"))


def test_a_linked_run_is_trained_continued_and_exported(tmp_path, must, runs, settings, samples):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk" / "mine")
    train = ["train", "--finetune", samples / "tagged.txt", "--steps", 2, *settings()]
    must(*train, "--out", tmp_path / "run")
    assert load_state(tmp_path / "disk" / "mine" / "checkpoints" / "last").finished
    stopped_copy(runs["classic"], tmp_path / "disk" / "other")
    (tmp_path / "run").unlink()
    (tmp_path / "run").symlink_to("disk/other")
    must("train", "--resume", tmp_path / "run")
    assert load_state(tmp_path / "run" / "checkpoints" / "last").finished
    (tmp_path / "bundle").symlink_to("disk/new")
    for _ in range(3):
        must("export", tmp_path / "run", "--out", tmp_path / "bundle", "--overwrite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "disk", "run"]
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["mine", "new", "other"]


def test_an_earlier_folder_is_found_again_behind_a_link(tmp_path):
    (tmp_path / ".real.replaced").mkdir()
    (tmp_path / "link").symlink_to("real")
    recover_folder(tmp_path / "link")
    assert (tmp_path / "real").is_dir()
    assert (tmp_path / "link").is_symlink()


def test_what_is_private(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with umask(0):
        remember("kind", "key", "text")

        def fill(folder):
            (folder / "tokens.bin").write_bytes(b"what somebody wrote")
            return {}

        DataCache().make("tokens", "1", fill)
        SavedChat(tmp_path / "chats.jsonl").save(HELLO)
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"key", "tokens.bin", "index.json"}
    for path in (*files, tmp_path / "chats.jsonl"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    # Who wants others to read a session may let them
    (tmp_path / "chats.jsonl").chmod(0o644)
    SavedChat(tmp_path / "chats.jsonl").save(HELLO)
    assert stat.S_IMODE((tmp_path / "chats.jsonl").stat().st_mode) == 0o644


def test_a_file_is_never_readable_for_more_people_than_before(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("earlier")
    path.chmod(0o640)
    seen = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(os.fstat(descriptor).st_mode) or fsync(descriptor))
    with umask(0):
        write_file(path, "secret")
    assert [stat.S_IMODE(mode) & ~0o640 for mode in seen] == [0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_file_that_may_not_be_written_stays(tmp_path, monkeypatch):
    from tinylm.errors import WriteError

    path = tmp_path / "file"
    path.write_text("mine")
    path.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)  # root may write all the same
    with pytest.raises(WriteError, match=r"file: cannot be written \(Permission denied\)"):
        write_file(path, "yours")
    assert path.read_text() == "mine"


def test_what_is_no_file_is_written_in_place(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_file(tmp_path / "pipe", "text")
    assert os.read(reader, 99) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_link_that_leads_in_a_circle_is_a_user_error(tmp_path):
    from tinylm.errors import WriteError

    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(WriteError, match="a: cannot be written"):
        write_file(tmp_path / "a", "text")
    with pytest.raises(WriteError, match="a: cannot be written"), new_folder(tmp_path / "a"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
