"""What `auto` stands for: device and precision."""

import pytest
import torch

from tinylm import hardware
from tinylm.config import make_config
from tinylm.errors import ConfigError
from tinylm.hardware import resolve_hardware


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
