"""How many operations training asks for, and what the device could do."""

import pytest
import torch

from tinylm.config import ModelConfig
from tinylm.training.mfu import attention_flops, datasheet_flops, measured_flops, peak_flops, training_flops
from tinylm.training.model import LanguageModel

SHAPE = {"vocab_size": 300, "d_model": 32, "nhead": 2, "num_layers": 3, "dim_feedforward": 64, "context_length": 16}


def test_a_step_asks_for_six_operations_a_parameter_and_for_attention():
    model = LanguageModel(ModelConfig(**SHAPE))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert attention_flops(model.config) == 12 * 3 * 32 * 16
    assert training_flops(model, 100, 100) == 100 * (6 * parameters + 12 * 3 * 32 * 16)


def test_an_embedding_that_is_only_looked_up_asks_for_nothing():
    tied, untied = (LanguageModel(ModelConfig(**SHAPE, tie_embeddings=tie)) for tie in (True, False))
    assert training_flops(untied, 100, 100) == training_flops(tied, 100, 100)


def test_logits_count_where_there_are_targets():
    model = LanguageModel(ModelConfig(**SHAPE))
    assert training_flops(model, 100, 100) - training_flops(model, 100, 40) == 6 * 60 * 300 * 32


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H200", 989.4),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA GH200 480GB", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H20", None),
        ("Tesla T4", None),
    ],
)
def test_a_rate_is_the_datasheets_where_the_name_is_known(name, tflops):
    assert datasheet_flops(name) == (None if tflops is None else tflops * 1e12)


def test_an_unknown_gpu_is_measured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU")
    monkeypatch.setattr("tinylm.training.mfu.measured_flops", lambda _: 5e12)
    assert peak_flops(torch.device("cuda")) == 5e12
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
    assert peak_flops(torch.device("cuda")) == 989.4e12


def test_a_cpu_has_no_rate_of_its_own():
    assert peak_flops(torch.device("cpu")) is None
    assert measured_flops(torch.device("cpu"), size=64, seconds=0.0) > 0
