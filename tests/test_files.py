"""Files and folders that are there whole or not at all."""

import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path

import pytest

from tinylm.errors import TinyLMError, WriteError
from tinylm.files import (
    append_line,
    check_writable,
    new_folder,
    read_errors,
    recover_folder,
    remove_folder,
    sha256_of,
    temporary_folder,
    user_errors,
    write_file,
    write_files,
)


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


@pytest.mark.parametrize("name", [".", "..", "../here", "../here/.."])
def test_the_working_folder_is_not_replaced(tmp_path, name, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(WriteError, match="the working folder is in it"), new_folder(Path(name)):
        pass
    fill(Path("sub"), a="1")
    assert contents(tmp_path) == {"here/sub/a": "1"}


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


def test_only_descriptors_that_are_open_for_writing_are_flushed(tmp_path, monkeypatch):
    """Windows refuses others."""
    import fcntl

    flushed = []
    fsync = os.fsync

    def flush(descriptor):
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            flushed.append(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    write_file(tmp_path / "file", "text")
    with new_folder(tmp_path / "folder") as folder:
        (folder / "a").write_text("1")
        (folder / "b").mkdir()
        (folder / "b" / "c").write_text("2")
    assert len(flushed) == 3
    assert os.O_RDONLY not in flushed


def test_a_folder_with_a_link_to_a_file_that_may_not_be_written(tmp_path, monkeypatch):
    """As of an earlier checkpoint whose files the user has made read-only."""
    (tmp_path / "earlier").write_text("1")
    open_file = os.open

    def refuse(path, flags, *mode):
        if flags & os.O_RDWR and Path(path).name == "link":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_file(path, flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with new_folder(tmp_path / "folder") as folder:
        os.link(tmp_path / "earlier", folder / "link")
    assert contents(tmp_path / "folder") == {"link": "1"}


def test_a_file_system_that_flushes_no_folders(tmp_path, monkeypatch):
    fsync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    fill(tmp_path / "folder", a="1")
    assert contents(tmp_path) == {"folder/a": "1"}


def test_what_cannot_be_read_is_not_said_to_be_unwritable(tmp_path):
    other = tmp_path / "other" / "file"
    with pytest.raises(TinyLMError, match=r"other/file: cannot be read \(No such file"), user_errors(tmp_path / "here"):
        other.read_text()
    with pytest.raises(TinyLMError, match=r"other/file: cannot be read \(No such file"), new_folder(tmp_path / "here"):
        other.read_text()
    with pytest.raises(TinyLMError, match=r"here: cannot be read \(No such file"), read_errors(tmp_path / "here"):
        (tmp_path / "here").read_text()
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", ["a/b", "a", "a/.b.0123abcd.tmp", "a/.b.0123abcd.tmp/c", "a/b/c", "a/.b.replaced"])
def test_what_belongs_to_the_path_is_written(tmp_path, error, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (error, str(tmp_path / error)):
        with pytest.raises(WriteError, match=r"^a/b: cannot be written \(full\)$"), user_errors(Path("a/b")):
            raise OSError(errno.ENOSPC, "full", name)


def test_a_message_names_no_temporary_file(tmp_path):
    with (
        pytest.raises(WriteError, match=rf"^{tmp_path}/target/none/file: cannot be written"),
        new_folder(tmp_path / "target") as folder,
    ):
        write_file(folder / "none" / "file", "text")


def test_several_files_appear_together(tmp_path, monkeypatch):
    write_files({tmp_path / "a": "1", tmp_path / "b": "1"})
    with pytest.raises(WriteError, match="none/b: cannot be written"):
        write_files({tmp_path / "a": "2", tmp_path / "none" / "b": "2"})
    assert contents(tmp_path) == {"a": "1", "b": "1"}
    write_files({tmp_path / "a": "2", tmp_path / "b": b"2"})
    assert contents(tmp_path) == {"a": "2", "b": "2"}


def test_text_that_no_utf8_holds_is_written_with_stand_ins(tmp_path):
    write_file(tmp_path / "file", "caf\udce9")
    append_line(tmp_path / "file", "\udce9")
    assert (tmp_path / "file").read_text("utf-8") == "caf??\n"


def test_whether_a_file_can_be_written_is_found_without_writing_it(tmp_path, monkeypatch):
    path = tmp_path / "file"
    check_writable(path)
    assert names(tmp_path) == []
    path.write_text("earlier")
    check_writable(path)
    assert contents(tmp_path) == {"file": "earlier"}
    with pytest.raises(WriteError):
        check_writable(tmp_path / "none" / "file")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(WriteError, match="file: cannot be written"):
        check_writable(path)
    assert contents(tmp_path) == {"file": "earlier"}


def test_half_a_line_is_taken_back(tmp_path):
    import resource
    import signal

    path = tmp_path / "log"
    append_line(path, "first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, limits[1]))
    try:
        with pytest.raises(WriteError, match=r"log: cannot be written \(File too large\)"):
            append_line(path, "second" * 9)
        assert path.read_text() == "first\n"
        append_line(path, "third")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_text() == "first\nthird\n"


def test_a_folder_that_is_not_to_replace_another(tmp_path):
    fill(tmp_path / "target", a="1")
    with pytest.raises(WriteError, match="target: cannot be written"), new_folder(tmp_path / "target", replace=False):
        pass
    assert contents(tmp_path) == {"target/a": "1"}
    with new_folder(tmp_path / "new", replace=False, durable=False) as folder:
        (folder / "b").write_text("2")
    assert contents(tmp_path) == {"target/a": "1", "new/b": "2"}


def test_folders_go(tmp_path, monkeypatch):
    fill(tmp_path / "target", a="1")
    (tmp_path / "link").symlink_to("target")
    remove_folder(tmp_path / "link")
    assert names(tmp_path) == ["link"]
    with pytest.raises(WriteError, match="link: cannot be written"):
        remove_folder(tmp_path / "link")
    with temporary_folder(tmp_path) as folder:
        (folder / "a").write_text("1")
        assert folder.parent == tmp_path
    assert names(tmp_path) == ["link"]
