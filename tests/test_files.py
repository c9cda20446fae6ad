"""Files and folders that are there whole or not at all."""

import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from tinylm.errors import TinyLMError
from tinylm.files import new_folder, recover_folder, sha256_of, user_errors, write_file


def no_space(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def fill(target, **files):
    with new_folder(target) as folder:
        for name, content in files.items():
            (folder / name).write_text(content)


@pytest.mark.parametrize(
    ("content", "expected"), [("grüße\n", "grüße\n".encode()), (b"\x00\xff", b"\x00\xff"), ("", b"")]
)
def test_a_file_is_written_byte_for_byte(tmp_path, content, expected):
    write_file(tmp_path / "file", "earlier")
    write_file(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == expected
    assert names(tmp_path) == ["file"]
    if os.name != "nt":
        assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_failed_write_keeps_the_earlier_file(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    write_file(path, "earlier")
    monkeypatch.setattr(*((os, call) if call == "fsync" else (Path, call)), no_space)
    with pytest.raises(TinyLMError, match=r"file: cannot be written \(No space left on device\)"):
        write_file(path, "later")
    assert contents(tmp_path) == {"file": "earlier"}


def test_an_interrupted_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    write_file(tmp_path / "file", "earlier")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", "later")
    assert contents(tmp_path) == {"file": "earlier"}


def test_a_file_in_no_folder_is_a_user_error(tmp_path):
    with pytest.raises(TinyLMError, match="cannot be written"):
        write_file(tmp_path / "none" / "file", "text")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TinyLMError, match="cannot be written"), new_folder(tmp_path / "file" / "sub"):
        pass


def test_only_the_operating_system_is_translated(tmp_path):
    with (
        pytest.raises(TinyLMError, match=r"here: cannot be written \(No space left on device\)"),
        user_errors(Path("here")),
    ):
        no_space()
    with pytest.raises(ZeroDivisionError), user_errors(tmp_path):
        1 / 0  # noqa: B018


def test_a_folder_takes_the_place_of_the_earlier_one(tmp_path):
    target = tmp_path / "parent" / "target"
    fill(target, a="1", b="2")
    assert contents(target) == {"a": "1", "b": "2"}
    fill(target, a="3")
    assert contents(target) == {"a": "3"}
    assert names(target.parent) == ["target"]
    if os.name != "nt":
        assert target.stat().st_mode & 0o777 == 0o755


def test_until_it_is_filled_the_earlier_one_is_there(tmp_path):
    target = tmp_path / "target"
    fill(target, a="1")
    with new_folder(target) as folder:
        (folder / "a").write_text("2")
        assert folder.parent == tmp_path
        assert contents(target) == {"a": "1"}
    assert contents(target) == {"a": "2"}


def fail_after_writing(folder, error):
    (folder / "a").write_text("2")
    raise error


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, TinyLMError])
@pytest.mark.parametrize("existing", [True, False])
def test_a_body_that_fails_changes_nothing(tmp_path, error, existing):
    target = tmp_path / "target"
    if existing:
        fill(target, a="1")
    with pytest.raises(error), new_folder(target) as folder:
        fail_after_writing(folder, error)
    assert contents(tmp_path) == ({"target/a": "1"} if existing else {})
    assert names(tmp_path) == (["target"] if existing else [])


def test_a_full_disk_while_it_is_filled_is_a_user_error(tmp_path):
    target = tmp_path / "target"
    fill(target, a="1")
    with pytest.raises(TinyLMError, match=r"target: cannot be written \(No space left on device\)"), new_folder(target):
        no_space()
    assert contents(tmp_path) == {"target/a": "1"}


@pytest.mark.parametrize("failing", [1, 2])
def test_a_refused_rename_leaves_the_earlier_folder_in_place(tmp_path, monkeypatch, failing):
    target = tmp_path / "target"
    fill(target, a="1")
    rename, calls = Path.rename, []

    def refuse(self, other):
        calls.append(self)
        return no_space() if len(calls) == failing else rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(TinyLMError, match="No space left"):
        fill(target, a="2")
    assert contents(tmp_path) == {"target/a": "1"}
    assert names(tmp_path) == ["target"]


def test_a_refused_fsync_leaves_the_earlier_folder_in_place(tmp_path, monkeypatch):
    target = tmp_path / "target"
    fill(target, a="1")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(TinyLMError, match="No space left"):
        fill(target, a="2")
    assert contents(tmp_path) == {"target/a": "1"}


class Killed(BaseException):
    """Stands for a process that ends here: nothing of it runs any more."""


def nothing(*arguments, **options):
    pass


def kill_at_rename(monkeypatch, number):
    rename, calls = Path.rename, []

    def die(self, other):
        calls.append(self)
        if len(calls) >= number:
            raise Killed
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", die)
    monkeypatch.setattr(shutil, "rmtree", nothing)


@pytest.mark.parametrize("number", [1, 2])
def test_a_process_killed_before_a_rename_loses_nothing(tmp_path, monkeypatch, number):
    target = tmp_path / "target"
    fill(target, a="1")
    with monkeypatch.context() as patch:
        kill_at_rename(patch, number)
        with pytest.raises(Killed):
            fill(target, a="2")
    assert target.exists() == (number == 1)
    recover_folder(target)
    assert contents(target) == {"a": "1"}
    fill(target, a="3")
    recover_folder(target)
    assert contents(target) == {"a": "3"}


def test_nothing_to_recover(tmp_path):
    recover_folder(tmp_path / "target")
    assert names(tmp_path) == []
    fill(tmp_path / "target", a="1")
    (tmp_path / ".target.replaced").mkdir()
    recover_folder(tmp_path / "target")
    assert contents(tmp_path / "target") == {"a": "1"}


def test_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(b"abc" * 100_000).hexdigest()
