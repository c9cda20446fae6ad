"""Checkpoints: written whole or not at all, read back exactly, and never trusted."""

import ast
import errno
import os
import shutil
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import tinylm
from tinylm.config import TokenizerConfig, TrainConfig, make_config
from tinylm.errors import RunError, TinyLMError
from tinylm.run_folder import RunFolder, TrainState, load_state
from tinylm.tokenizer import train_tokenizer
from tinylm.training.checkpoint import load_optimizer, load_run_model, load_weights, save_checkpoint
from tinylm.training.model import LanguageModel
from tinylm.training.optimizer import Optimizer

SHAPE = {"d_model": 32, "nhead": 2, "num_layers": 1, "dim_feedforward": 16, "context_length": 16}


@cache
def tokenizer(text="the cat sat on the mat and the dog ran away"):
    return train_tokenizer([text * 10], 290, TokenizerConfig())


def config_of(**changes):
    return make_config({"model": {**SHAPE, "vocab_size": tokenizer().vocab_size, **changes}})


def make_model(seed=0, **changes):
    torch.manual_seed(seed)
    return LanguageModel(config_of(**changes).model)


def state_of(model, **changes):
    return TrainState(
        **{"stage": "pretrain", "step": 3, "plan": {"pretrain": 5, "finetune": 7}, "model": model.config, **changes}
    )


def trained_optimizer(model, kind="muon"):
    optimizer = Optimizer(model, TrainConfig(optimizer=kind))
    for seed in range(2):
        torch.manual_seed(seed)
        model(torch.randint(0, 280, (2, 8))).square().mean().backward()
        optimizer.step(0.01)
    return optimizer


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def run(tmp_path):
    """A run folder with a last checkpoint."""
    made = RunFolder(tmp_path / "run")
    made.create(config_of(), tokenizer())
    model = make_model()
    optimizer = trained_optimizer(model)
    save_checkpoint(made.checkpoint("last"), model, optimizer, state_of(model))
    return made


@pytest.mark.parametrize("kind", ["muon", "adamw"])
@pytest.mark.parametrize("changes", [{}, {"tie_embeddings": False}, {"arch": "modern", "num_kv_heads": 1}])
def test_everything_comes_back_exactly(tmp_path, kind, changes):
    model = make_model(**changes)
    optimizer = trained_optimizer(model, kind)
    state = state_of(model, best_loss=1 / 3, best_bits_per_byte=2 / 7, seconds=0.1, tokens=12)
    folder = tmp_path / "last"
    save_checkpoint(folder, model, optimizer, state)
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    assert load_state(folder) == state
    back = make_model(seed=1, **changes)
    load_weights(folder, back, tokenizer().pieces(), tokenizer().pieces())
    assert equal(weights(back), weights(model))
    assert (back.output.weight is back.embedding.weight) is back.config.tie_embeddings
    fresh = Optimizer(back, TrainConfig(optimizer=kind))
    load_optimizer(folder, fresh)
    assert equal(fresh.state(), optimizer.state())


def test_without_an_optimizer_none_is_written(tmp_path):
    model = make_model()
    save_checkpoint(tmp_path / "best", model, None, state_of(model))
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["model.safetensors", "state.json"]
    with pytest.raises(RunError, match=r"optimizer\.safetensors: cannot be read \(No such file"):
        load_optimizer(tmp_path / "best", Optimizer(model, TrainConfig()))


@pytest.mark.parametrize("failing", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_full_disk_leaves_the_earlier_checkpoint_whole(run, monkeypatch, failing):
    folder = run.checkpoint("last")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write = Path.write_bytes

    def write_until_full(self, data):
        if self.name == failing:
            write(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    model = make_model(seed=5)
    optimizer = trained_optimizer(model)
    with pytest.raises(TinyLMError) as error:
        save_checkpoint(folder, model, optimizer, state_of(model, step=4))
    assert str(error.value) == f"{folder}: cannot be written (No space left on device)"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["last"]


class Killed(BaseException):
    """Stands for a process that ends here: nothing of it runs any more."""


def test_a_process_killed_between_the_renames_loses_no_checkpoint(run, monkeypatch):
    folder = run.checkpoint("last")
    model = make_model(seed=5)
    rename = Path.rename

    def die_at_the_second(self, target):
        if target == folder:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die_at_the_second)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        patch.setattr("tinylm.files.recover_folder", lambda _: None)
        with pytest.raises(Killed):
            save_checkpoint(folder, model, None, state_of(model, step=4))
    assert not folder.exists()
    run.check()
    assert load_state(folder).step == 3
    load_optimizer(folder, Optimizer(make_model(), TrainConfig()))
    save_checkpoint(folder, model, None, state_of(model, step=5))
    assert load_state(folder).step == 5


def test_reading_the_state_recovers_too(run):
    folder = run.checkpoint("last")
    folder.rename(folder.with_name(".last.replaced"))
    assert load_state(folder).step == 3


@pytest.mark.parametrize("tie", [True, False])
def test_rows_of_another_vocabulary_are_matched_by_piece(tmp_path, tie):
    old_pieces, new_pieces = ["<unk>", "a", "b", "c"], ["<unk>", "c", "x", "a", "y"]
    kept = {0: 0, 1: 3, 3: 1}

    def of_size(seed, pieces):
        model = make_model(seed, tie_embeddings=tie)
        size = len(pieces)
        for layer in (model.embedding, model.output):
            layer.weight = torch.nn.Parameter(torch.randn(size, 32))
        if tie:
            model.output.weight = model.embedding.weight
        return model

    old, new = of_size(0, old_pieces), of_size(1, new_pieces)
    save_checkpoint(tmp_path / "best", old, None, state_of(old))
    fresh, words = weights(new), []
    load_weights(tmp_path / "best", new, new_pieces, old_pieces, words.append)
    assert words == [
        "the vocabulary differs from the checkpoint's (5 and 4 pieces): 3 rows matched by piece, 2 start fresh"
    ]
    for name, found in weights(new).items():
        if name in ("embedding.weight", "output.weight"):
            for row in range(5):
                expected = weights(old)[name][kept[row]] if row in kept else fresh[name][row]
                assert torch.equal(found[row], expected), (name, row)
        else:
            assert torch.equal(found, weights(old)[name]), name


def test_the_same_pieces_in_another_order_are_matched_too(tmp_path):
    model = make_model()
    save_checkpoint(tmp_path / "best", model, None, state_of(model))
    pieces = tokenizer().pieces()
    other, words = make_model(seed=1), []
    load_weights(tmp_path / "best", other, pieces[::-1], pieces, words.append)
    assert torch.equal(other.embedding.weight, model.embedding.weight.flip(0))
    assert f"{len(pieces):,} rows matched by piece, 0 start fresh" in words[0]


def test_an_equal_vocabulary_is_loaded_without_a_word(run):
    words, pieces = [], tokenizer().pieces()
    load_weights(run.checkpoint("last"), make_model(seed=1), pieces, pieces, words.append)
    assert words == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"d_model": 64}, r"is \[\d+, 32\] there and \[\d+, 64\] in \[model\]; use the shape of the checkpoint's run"),
        ({"dim_feedforward": 32}, r"feedforward\.up\.weight is \[16, 32\] there and \[32, 32\] in \[model\]"),
        ({"num_layers": 2}, r"weights of another architecture \(parameter blocks\.1\."),
        ({"arch": "modern"}, r"weights of another architecture \(parameter "),
        ({"tie_embeddings": False}, r"weights of another architecture \(parameter output\.weight\)"),
        ({"vocab_size": 400}, r"embedding\.weight is \[\d+, 32\] there and \[400, 32\]"),
    ],
)
def test_another_shape_is_named(run, changes, problem):
    pieces = tokenizer().pieces()
    with pytest.raises(RunError, match=problem) as error:
        load_weights(run.checkpoint("last"), make_model(**changes), pieces, pieces)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(run.checkpoint("last")))


@pytest.mark.parametrize("name", ["model", "optimizer"])
@pytest.mark.parametrize("cut", [0, 5, 200, -1])
def test_broken_tensors_are_named(run, name, cut):
    path = run.checkpoint("last") / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    model, pieces = make_model(), tokenizer().pieces()
    optimizer = Optimizer(model, TrainConfig())
    loads = {
        "model": lambda: load_weights(run.checkpoint("last"), model, pieces, pieces),
        "optimizer": lambda: load_optimizer(run.checkpoint("last"), optimizer),
    }
    with pytest.raises(RunError) as error:
        loads[name]()
    assert str(error.value).startswith(f"{path}: not a whole safetensors file")
    assert "\n" not in str(error.value)


def drop_one(tensors):
    del tensors[sorted(tensors)[0]]


def reshape_one(tensors):
    tensors["embedding.weight/exp_avg"] = torch.zeros(3, 3)


@pytest.mark.parametrize("damage", [dict.clear, drop_one, reshape_one])
def test_an_optimizer_without_all_of_its_state_is_named(run, damage):
    path = run.checkpoint("last") / "optimizer.safetensors"
    tensors = load_tensors(path.read_bytes())
    damage(tensors)
    path.write_bytes(save_tensors(tensors))
    with pytest.raises(RunError, match="no state of this optimizer for "):
        load_optimizer(run.checkpoint("last"), Optimizer(make_model(), TrainConfig()))


@pytest.mark.parametrize(("saved", "wanted"), [("muon", "adamw"), ("adamw", "muon")])
def test_the_state_of_another_optimizer_is_named(tmp_path, saved, wanted):
    model = make_model()
    save_checkpoint(tmp_path / "last", model, trained_optimizer(model, saved), state_of(model))
    with pytest.raises(RunError, match=r"no state of this optimizer for .*; was config\.toml changed"):
        load_optimizer(tmp_path / "last", Optimizer(model, TrainConfig(optimizer=wanted)))


STATE = b'{"stage":"pretrain","step":1,"plan":{}'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot be read as a checkpoint's state"),
        (b"garbage", "cannot be read as a checkpoint's state"),
        (b"\xff\xfe\x00", "cannot be read as a checkpoint's state"),
        (b'{"stage":"\xff","step":1,"plan":{}}', "cannot be read as a checkpoint's state"),
        (STATE, "cannot be read as a checkpoint's state"),
        (b"null", "cannot be read as a checkpoint's state"),
        (b"{}", "missing required field `stage`"),
        (b'{"stage":"later","step":1,"plan":{}}', "Invalid enum value 'later'"),
        (STATE + b',"model":{"d_model":100}}', "must be a multiple of 8"),
        (STATE + b',"schema_version":99}', "a checkpoint of version 99, this TinyLM knows 1"),
    ],
)
def test_a_broken_state_is_named(run, content, problem):
    path = run.checkpoint("last") / "state.json"
    path.write_bytes(content)
    with pytest.raises(RunError) as error:
        load_state(run.checkpoint("last"))
    assert str(error.value).startswith(f"{path}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(RunError, match="no checkpoint here"):
        load_state(tmp_path / "none")


def test_a_run_folder_comes_back(run):
    assert run.load_config() == config_of()
    assert run.load_tokenizer().serialized() == tokenizer().serialized()
    model, found, state = load_run_model(run)
    assert not model.training
    assert found.pieces() == tokenizer().pieces()
    assert state.step == 3


def test_a_run_is_evaluated_on_no_more_threads_than_there_are_cores(run, monkeypatch):
    threads = torch.get_num_threads()
    try:
        for usable, expected in ((2, 2), (1, 1), (8, 1)):
            if usable == 2:
                torch.set_num_threads(3)
            monkeypatch.setattr("tinylm.training.hardware.usable_threads", lambda usable=usable: usable)
            load_run_model(run)
            assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(threads)


def test_a_run_gives_the_wanted_checkpoint_or_the_other(run):
    model = make_model(seed=9)
    assert load_run_model(run, "best")[2].step == 3
    save_checkpoint(run.checkpoint("best"), model, None, state_of(model, step=2))
    assert load_run_model(run)[2].step == 2
    assert equal(weights(load_run_model(run, "best")[0]), weights(model))
    assert load_run_model(run, "last")[2].step == 3
    shutil.rmtree(run.checkpoint("last"))
    assert load_run_model(run, "last")[2].step == 2


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda run: shutil.rmtree(run.path), "no such run folder"),
        (lambda run: run.config.unlink(), r"not a run folder of `tinylm train` \(no config\.toml in it\)"),
        (lambda run: run.tokenizer.unlink(), r"\(no tokenizer\.model in it\)"),
        (lambda run: shutil.rmtree(run.checkpoint("last")), "stopped before its first checkpoint"),
        (lambda run: run.tokenizer.write_bytes(b""), r"tokenizer\.model: not a SentencePiece model"),
        (
            lambda run: run.tokenizer.write_bytes(tokenizer("ab").serialized()),
            r"the tokenizer has \d+ pieces, the checkpoint \d+; tokenizer\.model is not the run's own",
        ),
        (lambda run: (run.checkpoint("last") / "model.safetensors").unlink(), r"model\.safetensors: cannot be read"),
    ],
)
def test_a_damaged_run_is_named(run, damage, problem):
    damage(run)
    with pytest.raises(TinyLMError, match=problem) as error:
        load_run_model(run)
    assert str(error.value).startswith(str(run.path))
    assert "\n" not in str(error.value)


def test_a_run_is_not_made_over_another_thing(run, tmp_path):
    with pytest.raises(RunError, match="exists already; give another --out, or go on with --resume"):
        run.create(config_of(), tokenizer())
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="exists already"):
        RunFolder(tmp_path / "file").create(config_of(), tokenizer())
    (tmp_path / "empty").mkdir()
    RunFolder(tmp_path / "empty").create(config_of(), tokenizer())


def source_files():
    root = Path(tinylm.__file__).parent
    rooms = [root, *(root.parent / name for name in ("cli", "data", "export", "runtime") if root.name == "tinylm")]
    files = [path for room in rooms if room.is_dir() for path in room.rglob("*.py")]
    assert len(files) > 20
    return files


def test_nothing_is_unpickled_anywhere():
    """Neither pickle nor what is built on it can be reached from a file that somebody else wrote."""
    unsafe = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in source_files():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                assert not unsafe & {alias.name.split(".")[0] for alias in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in unsafe, path
                assert not (node.module == "torch" and "load" in {alias.name for alias in node.names}), path
            elif isinstance(node, ast.Attribute) and node.attr in ("load", "save"):
                assert not (isinstance(node.value, ast.Name) and node.value.id == "torch"), path
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.literal_eval(node.value) is False, path
