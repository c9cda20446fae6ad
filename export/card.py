"""Write the model card, a bundle's README.md."""

from __future__ import annotations

from tinylm.manifest import MODEL_FILE, Manifest
from tinylm.printable import printable
from tinylm.provenance import ImportedModel, StageProvenance
from tinylm.run_folder import STAGE_TITLES

_TITLES = {str(stage): title for stage, title in STAGE_TITLES.items()}

_CARD = """# {title}

A {kind} model of {parameters:,} parameters, made with TinyLM {version}.
It runs on a CPU alone, in TinyLM, installed from its repository or its wheel:

```
tinylm {command}
```

## What it is

| | |
|---|---|
| architecture | decoder-only Transformer, {arch} |
| shape | {layers} layers, {d_model} wide, {heads} heads, feed-forward {feedforward} |
| vocabulary | {vocabulary:,} {tokenizer} tokens |
| context | {context:,} tokens |
| weights | {precision}, `{model_file}` {megabytes:.2f} MB ({share:.1%} of fp32) |
| needs | onnxruntime {onnxruntime} or newer, opset {opset}, onnxruntime's own operators: {contrib} |

## Data

{imported}{data}

Trained for {steps} in {minutes:.1f} minutes, on {tokens:,} tokens. What the texts say is not quoted here.

## Quality

Measured before this bundle was written, on {positions:,} positions of {text}, decoded one by one.

| | torch fp32 | this bundle |
|---|---|---|
| bits per byte | {torch_bits:.4f} | {bits:.4f} ({loss_percent:+.3f} %) |
| loss, nats a token | {torch_loss:.4f} | {loss:.4f} |
| same most likely token as torch | | {agreement:.2%} |
| largest difference of a logit | | {difference:.4f} |

Prefill and decode have the same most likely token after {prefill:.2%} of the prefixes tried.

## Speed

On {threads} of the {machine} machine that exported it: {prefill_speed:,.0f} tokens a second read,
{decode_speed:,.0f} generated.

## Limits

It knows little beyond its data, and can be wrong while it sounds certain. It is too small to be relied on for facts,
advice or decisions about people. {chat_limit}

`tinylm info --verify` checks every file and a golden continuation on the machine that runs it.
"""


def model_card(manifest: Manifest, fp32_bytes: int) -> str:
    """Write the model card of a bundle in Markdown.

    Args:
        manifest: of the bundle.
        fp32_bytes: size of the model's fp32 graph.
    """
    model, gate, provenance = manifest.model, manifest.gate, manifest.provenance
    size = manifest.model_bytes
    sampled, speed = gate.sampled_positions, provenance.speed
    return _CARD.format(
        title="A small chat model" if manifest.chat else "A small language model",
        kind="chat" if manifest.chat else "text",
        parameters=provenance.parameters,
        version=manifest.tinylm_version,
        command="chat BUNDLE" if manifest.chat else "complete BUNDLE --prompt 'Once upon a time'",
        arch=model.arch,
        layers=model.num_layers,
        d_model=model.d_model,
        heads=model.nhead,
        feedforward=model.dim_feedforward,
        vocabulary=model.vocab_size,
        tokenizer="SentencePiece BPE" if manifest.tokenizer_file == "tokenizer.model" else "byte-level BPE",
        context=model.context_length,
        precision=manifest.graph.precision,
        model_file=MODEL_FILE,
        megabytes=size / 1e6,
        share=size / fp32_bytes,
        onnxruntime=manifest.graph.least_onnxruntime,
        opset=manifest.graph.opset,
        contrib=", ".join(manifest.graph.contrib_operators) or "none",
        imported=_origin(provenance.imported),
        data=_data_table(provenance.data),
        steps=" and ".join(f"{count:,} steps of {_TITLES[stage]}" for stage, count in provenance.steps.items()),
        minutes=provenance.training_seconds / 60,
        tokens=provenance.training_tokens,
        positions=gate.positions,
        text="held-out text"
        if not sampled
        else f"text ({sampled:,} of them sampled from the model, for want of held-out text)",
        torch_bits=gate.torch_bits_per_byte,
        bits=gate.bits_per_byte,
        loss_percent=gate.quality_loss_percent,
        torch_loss=gate.torch_loss,
        loss=gate.loss,
        agreement=gate.greedy_agreement,
        difference=gate.logit_difference,
        prefill=gate.prefill_agreement,
        threads="one thread" if speed.threads == 1 else f"{speed.threads} threads",
        machine=speed.machine,
        prefill_speed=speed.prefill_tokens_per_second,
        decode_speed=speed.decode_tokens_per_second,
        chat_limit=(
            "It answers in the roles that it was trained on; it cannot speak for its user."
            if manifest.chat
            else "It was never fine-tuned on conversations: it continues text."
        ),
    )


def _origin(model: ImportedModel | None) -> str:
    if model is None:
        return ""
    license_ = f"its licence is {model.license}" if model.license else "its files name no licence: look it up"
    return f"It goes back to {printable(model.name)} ({model.form}), which others trained; {license_}.\n\n"


def _data_table(data: dict[str, StageProvenance]) -> str:
    if not data:
        return "Not recorded."
    rows = ["| stage | file | examples | held out | SHA-256 |", "|---|---|---|---|---|"]
    for stage, trained in data.items():
        rows += [
            f"| {_TITLES.get(stage, stage)} | {file.name} | {trained.examples:,} | {trained.held_out:,} "
            f"| `{file.sha256[:16]}…` |"
            for file in trained.files
        ]
    return "\n".join(rows)
