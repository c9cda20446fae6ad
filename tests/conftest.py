import importlib
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

# transformers must not look for newer files of a model
os.environ["HF_HUB_OFFLINE"] = "1"

with warnings.catch_warnings():
    # torch warns about itself while it is imported, and that is not ours to mend
    warnings.simplefilter("ignore")
    import torch

from tinylm.cli.main import cli
from tinylm.config import ModelConfig
from tinylm.training.model import LanguageModel

REPOSITORY = Path(__file__).parent.parent
SAMPLES = REPOSITORY / "data" / "samples"
# A model that trains in a second or two
SMALL = {
    "model.vocab_size": 320,
    "model.d_model": 32,
    "model.nhead": 2,
    "model.num_layers": 2,
    "model.dim_feedforward": 64,
    "model.context_length": 96,
    "train.batch_size": 8,
    "train.threads": 1,
    "train.precision": "fp32",
    "train.validations": 2,
}


@pytest.fixture(autouse=True)
def user_folders(tmp_path_factory, monkeypatch):
    """Keep what tests remember, and variables that change defaults, out of the user's own folders and shell."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def _settings(**changes):
    """`--set` options of the small model; an underscore in a name is the dot: train_steps."""
    values = {**SMALL, **{name.replace("_", ".", 1): value for name, value in changes.items()}}
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


def _run_cli(*arguments, **options):
    """What `tinylm ARGUMENTS` gives, in this process."""
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], **options)


def _must(*arguments, **options):
    """The same, and it must go well."""
    result = _run_cli(*arguments, **options)
    assert result.exit_code == 0, result.output
    return result


def _make_run(folder, *, pretrain=True, finetune=True, steps=24, **changes):
    arguments = ["train", "--out", folder, "--steps", steps, *_settings(**changes)]
    if pretrain:
        arguments += ["--pretrain", SAMPLES / "raw.txt"]
    if finetune:
        arguments += ["--finetune", SAMPLES / "tagged.txt", "--finetune", SAMPLES / "messages.jsonl"]
    _must(*arguments)
    return folder


ARCHITECTURES = {
    "classic": {},
    "modern": {"model_arch": "modern", "model_num_kv_heads": 1},
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A trained run of each architecture."""
    folder = tmp_path_factory.mktemp("runs")
    # Fewer steps leave logits so flat that int8 decides many a close call
    return {arch: _make_run(folder / arch, steps=32, **changes) for arch, changes in ARCHITECTURES.items()}


@pytest.fixture(scope="session")
def bundles(runs, tmp_path_factory):
    """Bundles of these runs by architecture and precision."""
    folder = tmp_path_factory.mktemp("bundles")
    made = {}
    for arch, run in runs.items():
        for precision in ("fp32", "int8"):
            out = made[arch, precision] = folder / f"{arch}-{precision}"
            _must("export", run, "--out", out, *(["--quantize"] if precision == "int8" else []))
    return made


@pytest.fixture(scope="session")
def bundle(bundles):
    """A bundle that may be read, not changed."""
    return bundles["classic", "int8"]


@pytest.fixture(scope="session")
def text_run(tmp_path_factory):
    """A run that was only pre-trained."""
    return _make_run(tmp_path_factory.mktemp("text") / "run", finetune=False, steps=8)


@pytest.fixture(scope="session")
def text_bundle(text_run, tmp_path_factory):
    """A bundle that was never fine-tuned."""
    out = tmp_path_factory.mktemp("text-bundle") / "bundle"
    _must("export", text_run, "--out", out)
    return out


def _random_model(scale=25.0, seed=0, **changes):
    """A model of random weights; `scale` widens them, so that its logits differ much from token to token."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 300,
        "d_model": 64,
        "nhead": 4,
        "num_layers": 2,
        "dim_feedforward": 128,
        "context_length": 256,
        **changes,
    }
    model = LanguageModel(ModelConfig(**shape)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                # Norms and biases are ones and zeros at the start, which would hide a mistake
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif not parameter.any():
                parameter.normal_(std=0.1)  # a llama's blocks begin without an output
            elif "blocks" in name:
                parameter.mul_(1.5)
            else:
                parameter.mul_(scale if name == "output.weight" or model.config.tie_embeddings else 6)
    return model


@pytest.fixture(scope="session")
def web_dist():
    """What `make web` builds."""
    folder = REPOSITORY / "runtime" / "web" / "dist"
    if not (folder / "worker.js").is_file():
        if os.environ.get("TINYLM_REQUIRE_BROWSER") == "1":
            pytest.fail("TINYLM_REQUIRE_BROWSER is set, and `make web` has built nothing")
        pytest.skip("needs what `make web` builds")
    return folder


@pytest.fixture(scope="session")
def samples():
    """The folder of small files of every form."""
    return SAMPLES


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture(scope="session")
def run_cli():
    return _run_cli


@pytest.fixture(scope="session")
def must():
    return _must


@pytest.fixture(scope="session")
def settings():
    return _settings


@pytest.fixture(scope="session")
def small_values():
    """The values of the small model by `section.key`."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def make_run():
    return _make_run


@pytest.fixture(scope="session")
def random_model():
    return _random_model


class Server:
    """`tinylm serve` as a process of its own, on a free port of this machine."""

    def __init__(self, *arguments, **variables):
        command = [sys.executable, "-m", "tinylm", "serve", "--port", "0", *map(str, arguments)]
        environment = {**os.environ, **variables}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=Path.home())
        self.said = ""
        while "/v1" not in self.said:
            line = self.process.stderr.readline()
            assert line, f"the server ended, saying {self.said!r}"
            self.said += line
        self.url = re.search(r"http://\S+?(?=/v1)", self.said)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        self.process.stderr.close()

    def stop(self):
        """Ctrl-C; what it said meanwhile, which must not be a traceback."""
        self.process.send_signal(signal.SIGINT)
        rest = self.process.stderr.read()
        assert self.process.wait(60) == 0
        assert "Traceback" not in rest
        return rest


@pytest.fixture(scope="session")
def start_server():
    return Server


@pytest.fixture(scope="session")
def demo_server():
    """The demo model, served."""
    with Server() as server:
        yield server


@pytest.fixture
def cpus(repository, monkeypatch):
    """The modules of `benchmarks.cpus`, by name: `cpus("verdict")`."""
    monkeypatch.syspath_prepend(str(repository))
    return lambda name: importlib.import_module(f"benchmarks.cpus.{name}")
