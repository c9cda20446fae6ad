"""What `auto` stands for: device, precision and whether to compile."""

import pytest
import torch

from tinylm.config import make_config
from tinylm.errors import ConfigError
from tinylm.training import hardware
from tinylm.training.hardware import resolve_compile, resolve_hardware


def train_config(**values):
    return make_config({"train": values}).train


@pytest.mark.parametrize(
    ("device", "precision", "expected"),
    [("cpu", "fp32", ("cpu", "fp32")), ("cpu", "bf16", ("cpu", "bf16")), ("auto", "fp32", ("cpu", "fp32"))],
)
def test_hardware(monkeypatch, device, precision, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_hardware(train_config(device=device, precision=precision)) == expected


@pytest.mark.parametrize(("faster", "precision"), [(True, "bf16"), (False, "fp32")])
def test_the_precision_is_what_the_processor_is_fast_in(monkeypatch, faster, precision):
    monkeypatch.setattr(hardware, "_bf16_is_faster_on_cpu", lambda: faster)
    assert resolve_hardware(train_config(device="cpu", precision="auto")) == ("cpu", precision)


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "abacus", ""])
def test_a_device_that_is_not_there_is_named(monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"train\.device: no .* here; there is cpu"):
        resolve_hardware(train_config(device=device, precision="fp32"))


@pytest.fixture
def gpu(monkeypatch):
    """A machine with an H100, Triton and a C compiler."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(hardware.shutil, "which", lambda name: f"/usr/bin/{name}")


@pytest.mark.parametrize(
    ("values", "device", "expected"),
    [
        ({}, "cuda", "on"),
        ({}, "cuda:1", "on"),
        ({}, "cpu", "off"),
        ({}, "mps", "off"),
        ({"minutes": 1.0}, "cuda", "off"),
        ({"minutes": 1.0, "steps": 9}, "cuda", "on"),
        ({"compile": "off"}, "cuda", "off"),
        ({"compile": "on", "minutes": 1.0}, "cpu", "on"),
    ],
)
def test_compiling_is_for_gpus_and_for_runs_that_get_the_time_back(gpu, values, device, expected):
    assert resolve_compile(train_config(**values), device) == expected


@pytest.mark.parametrize("missing", ["triton", "compiler", "capability"])
def test_nothing_is_compiled_where_something_for_it_is_missing(gpu, monkeypatch, missing):
    if missing == "triton":
        monkeypatch.setattr(hardware.importlib.util, "find_spec", lambda _: None)
    elif missing == "compiler":
        monkeypatch.setattr(hardware.shutil, "which", lambda _: None)
    else:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    assert resolve_compile(train_config(), "cuda") == "off"


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_that_only_emulates_bf16_computes_in_fp32(gpu, monkeypatch, native, precision):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert resolve_hardware(train_config(device="cuda")) == ("cuda", precision)
