"""The commands from end to end: data in, chat out."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pytest

from tinylm.cli.main import COMMANDS

REPLY_KEYS = [
    "reply",
    "prompt_tokens",
    "completion_tokens",
    "finish_reason",
    "time_to_first_token_s",
    "decode_tokens_per_second",
    "dropped_messages",
]
# As `tinylm` does it, but wherever the script of the environment may lie
ENTRY = "import sys; from tinylm.cli.main import main; sys.argv[0] = 'tinylm'; main()"
LEAVES = [(name,) for name in ("", *COMMANDS)] + [("data", "world"), ("data", "inspect")]


def tinylm(*arguments, **options):
    command = [sys.executable, "-c", ENTRY, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def one_json(result):
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_the_main_job(arch, runs, tmp_path, must):
    run, out = runs[arch], tmp_path / "bundle"
    assert {path.name for path in run.iterdir()} == {
        "config.toml",
        "tokenizer.model",
        "metrics.jsonl",
        "provenance.json",
        "report.html",
        "checkpoints",
        "val",
    }
    kept = {"finetune-000008", "finetune-000016"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best", "last", *kept}
    assert {path.name for path in (run / "val").iterdir()} == {"pretrain.npz", "finetune.npz"}
    assert tomllib.loads((run / "config.toml").read_text())["model"]["arch"] == arch

    of_run = one_json(must("eval", run, "--json"))
    assert list(of_run)[:4] == ["bits_per_byte", "loss", "tokens", "bytes"]
    assert {"hits_at_1_of_10", "hits_at_1_of_10_baseline", "repetition", "longest_copied_run"} < set(of_run)
    exported = must("export", run, "--out", out)
    assert exported.stdout == ""
    assert f"tinylm chat {out}" in exported.stderr
    assert json.loads((out / "manifest.json").read_text())["graph"]["precision"] == "fp32"
    must("export", run, "--out", out, "--quantize", "--overwrite")
    files = {"model.onnx", "decode.onnx", "tokenizer.model", "manifest.json", "README.md"}
    assert {path.name for path in out.iterdir()} == files

    info = one_json(must("info", out, "--verify", "--json"))
    assert info["verified"] is True
    assert info["graph"]["precision"] == "int8"
    manifest = json.loads((out / "manifest.json").read_text())
    assert {**info, "manifest_sha256": manifest["manifest_sha256"]} == {**manifest, "verified": True}
    assert one_json(must("info", out, "--json"))["verified"] is False
    assert "int8" in must("info", out).stdout

    reply = must("chat", out, "--prompt", "Hello, who are you?", "--json", "--seed", 1, "--max-new-tokens", 9)
    values = one_json(reply)
    assert list(values) == REPLY_KEYS
    assert values["finish_reason"] in {"stop", "length"}
    assert 1 <= values["completion_tokens"] <= 9
    plain = must("chat", out, "--prompt", "Hello, who are you?", "--seed", 1, "--max-new-tokens", 9)
    assert plain.stdout == values["reply"] + "\n"
    more = one_json(must("complete", out, "--prompt", "Pip woke", "--temperature", 0, "--json", "--max-new-tokens", 5))
    assert list(more) == REPLY_KEYS
    plain = must("complete", out, "--prompt", "Pip woke", "--temperature", 0, "--max-new-tokens", 5)
    assert plain.stdout == "Pip woke" + more["reply"] + "\n"


def test_a_run_and_its_fp32_bundle_score_alike(runs, bundles, must, samples):
    for data in (samples / "raw.txt", samples / "messages.jsonl", samples / "documents.jsonl"):
        scores = [
            one_json(must("eval", what, "--data", data, "--full", "--json"))
            for what in (runs["classic"], bundles["classic", "fp32"])
        ]
        assert scores[0]["bits_per_byte"] == pytest.approx(scores[1]["bits_per_byte"], rel=1e-5)
        assert (scores[0]["tokens"], scores[0]["bytes"]) == (scores[1]["tokens"], scores[1]["bytes"])
    text = (samples / "raw.txt").read_text()
    parts = [part.strip("\n") for part in text.split("<|endoftext|>")]
    whole = one_json(must("eval", bundles["classic", "int8"], "--data", samples / "raw.txt", "--full", "--json"))
    assert whole["bytes"] == sum(len(part.encode()) for part in parts if part)


@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_either_stage_alone(stage, make_run, tmp_path):
    run = make_run(tmp_path / "run", pretrain=stage == "pretrain", finetune=stage == "finetune", steps=3)
    assert [path.name for path in (run / "val").iterdir()] == [f"{stage}.npz"]
    stages = {json.loads(line)["stage"] for line in (run / "metrics.jsonl").read_text().splitlines()}
    assert stages == {stage}
    assert json.loads((run / "provenance.json").read_text()).keys() == {stage}


def test_init_goes_on_from_another_run(text_run, tmp_path, must, samples):
    common = ["train", "--finetune", samples / "tagged.txt", "--init", text_run, "--steps", 2]
    common += ["--set", "train.threads=1", "--set", "train.precision=fp32", "--set", "train.batch_size=4"]
    must(*common, "--out", tmp_path / "same")
    assert (tmp_path / "same" / "tokenizer.model").read_bytes() == (text_run / "tokenizer.model").read_bytes()
    model = tomllib.loads((tmp_path / "same" / "config.toml").read_text())["model"]
    assert model == tomllib.loads((text_run / "config.toml").read_text())["model"]
    result = must(*common, "--out", tmp_path / "new", "--new-tokenizer")
    counts = re.search(r"([\d,]+) rows matched by piece, ([\d,]+) start fresh", result.stderr.replace("\n", " "))
    assert counts
    matched, fresh = (int(count.replace(",", "")) for count in counts.groups())
    assert matched >= 262
    assert fresh > 0
    pieces = int(re.search(r"Tokenizer: ([\d,]+) pieces", result.stderr)[1].replace(",", ""))
    assert matched + fresh == pieces


def test_show_config_prints_every_default_and_leaves(must, tmp_path):
    result = must("train", "--show-config", "--set", "model.d_model=64", "--steps", 5, "--out", tmp_path / "run")
    values = tomllib.loads(result.stdout)
    assert list(values) == ["model", "tokenizer", "train", "data"]
    assert values["model"]["d_model"] == 64
    assert values["train"]["steps"] == 5
    assert not (tmp_path / "run").exists()
    (tmp_path / "config.toml").write_text(result.stdout)
    again = must("train", "--show-config", "--config", tmp_path / "config.toml")
    assert again.stdout == result.stdout


def test_resume_after_ctrl_c_ends_where_an_unbroken_run_ends(tmp_path, settings, must, samples, make_run, run_cli):
    data = tmp_path / "chats.txt"
    data.write_bytes((samples / "tagged.txt").read_bytes())
    run = tmp_path / "run"
    arguments = ["--finetune", data, "--steps", 150, *settings()]
    command = [sys.executable, "-c", ENTRY, "train", "--out", run, *arguments]
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True)
    metrics = run / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") > 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, chatter = process.communicate(timeout=60)
    assert process.returncode == 1, chatter
    assert f"tinylm train --resume {run}" in chatter
    assert "Traceback" not in chatter
    state = json.loads((run / "checkpoints" / "last" / "state.json").read_text())
    assert 3 < state["step"] < 150
    assert not state["finished"]

    whole = data.read_bytes()
    data.write_bytes(whole + b"\n<user> More?\n<assistant> No.\n")
    refused = run_cli("train", "--resume", run)
    assert refused.exit_code == 1
    assert "chats.txt: changed since the run began" in refused.stderr
    data.write_bytes(whole)

    must("train", "--resume", run)
    must("train", "--out", tmp_path / "unbroken", *arguments)
    for name in ("best", "last"):
        resumed, unbroken = (
            folder / "checkpoints" / name / "model.safetensors" for folder in (run, tmp_path / "unbroken")
        )
        assert resumed.read_bytes() == unbroken.read_bytes()
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines() if "learning_rate" in line]
    assert steps == list(range(1, 151))
    finished = run_cli("train", "--resume", run)
    assert finished.exit_code == 1
    assert "has finished" in finished.stderr


def test_stdin_is_the_prompt(bundle, must):
    options = ["--temperature", 0, "--max-new-tokens", 5, "--json"]
    piped = one_json(must("chat", bundle, *options, input="Wörter über\nzwei Zeilen"))
    given = one_json(must("chat", bundle, *options, "--prompt", "Wörter über\nzwei Zeilen"))
    assert (piped["reply"], piped["prompt_tokens"]) == (given["reply"], given["prompt_tokens"])
    # With --prompt, stdin is not read
    both = one_json(must("chat", bundle, *options, "--prompt", "Wörter über\nzwei Zeilen", input=b"\xff\xff"))
    assert both["prompt_tokens"] == given["prompt_tokens"]


def test_the_system_message_is_part_of_the_prompt(bundle, must):
    plain, more = (
        one_json(must("chat", bundle, "--prompt", "Hi", "--json", *extra))["prompt_tokens"]
        for extra in ([], ["--system", "Be kind."])
    )
    assert more > plain


def test_a_bundle_that_was_never_fine_tuned_is_for_complete(text_bundle, run_cli, must):
    result = run_cli("chat", text_bundle, "--prompt", "Hi")
    assert result.exit_code == 1
    assert f"tinylm complete {text_bundle} --prompt TEXT" in result.stderr
    assert "Pip" in must("complete", text_bundle, "--prompt", "Pip").stdout


def test_options_read_variables(bundle, must, monkeypatch):
    monkeypatch.setenv("TINYLM_CHAT_MAX_NEW_TOKENS", "3")
    monkeypatch.setenv("TINYLM_CHAT_TEMPERATURE", "0")
    first, second = (one_json(must("chat", bundle, "--prompt", "Hi", "--json")) for _ in range(2))
    assert first["completion_tokens"] == 3
    assert first["reply"] == second["reply"]
    assert one_json(must("chat", bundle, "--prompt", "Hi", "--json", "--max-new-tokens", 2))["completion_tokens"] == 2
    monkeypatch.setenv("TINYLM_CHAT_TEMPERATURE", "-1")
    from click.testing import CliRunner

    from tinylm.cli.main import cli

    assert CliRunner().invoke(cli, ["chat", str(bundle), "--prompt", "Hi"]).exit_code == 2


def test_dropped_turns_are_told_once_and_in_json(bundle, tmp_path, must, run_cli):
    session = tmp_path / "mine.jsonl"
    options = ["--session", session, "--temperature", 0, "--max-new-tokens", 5, "--prompt", "Tell me of the garden"]
    note = "oldest messages are no longer seen by the model"
    counts = []
    for number in range(12):
        result = must("chat", bundle, *options, *(["--json"] if number % 2 else []))
        assert result.stderr.count(note) == result.stderr.count("Note: the context is full")
        counts.append(int(re.search(r"the (\d+) oldest", result.stderr)[1]) if note in result.stderr else 0)
        if number % 2:
            assert one_json(result)["dropped_messages"] == counts[-1]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] > 4
    assert one_json(must("complete", bundle, "--prompt", "Hi", "--json"))["dropped_messages"] == 0


def test_a_reply_that_is_cut_says_so_where_no_json_does(bundle, must):
    options = ["--prompt", "Hi", "--temperature", 0, "--max-new-tokens", 2]
    assert must("chat", bundle, *options).stderr == "Note: the reply is cut: max-new-tokens reached\n"
    result = must("chat", bundle, *options, "--json")
    assert result.stderr == ""
    assert one_json(result)["finish_reason"] == "length"


@pytest.mark.parametrize("command", ["chat", "complete"])
def test_a_seed_of_minus_one_and_a_top_p_of_zero(command, bundle, must):
    def reply(*options):
        return one_json(must(command, bundle, "--prompt", "Hi", "--json", "--max-new-tokens", 12, *options))["reply"]

    greedy = reply("--temperature", 0)
    assert reply("--temperature", 90, "--top-p", 0, "--top-k", -1) == greedy
    assert len({reply("--temperature", 90, "--top-p", 1, "--top-k", 0, "--seed", -1) for _ in range(3)}) > 1


def test_json_of_a_real_process_is_all_of_stdout(bundle):
    result = tinylm("chat", bundle, "--prompt", "Hi 🌱", "--json", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0, result.stderr
    assert list(one_json(result)) == REPLY_KEYS
    assert result.stderr == ""


def test_a_closed_stdin_is_an_empty_prompt(bundle):
    result = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -c "{ENTRY}" chat "{bundle}" <&-'],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert "the prompt is empty" in result.stderr


def test_greedy_replies_are_the_same_everywhere(bundle, must):
    replies = {
        one_json(must("chat", bundle, "--prompt", "Hi", "--temperature", 0, "--json", "--threads", threads))["reply"]
        for threads in (0, 1, 2)
    }
    assert len(replies) == 1


@pytest.mark.parametrize("command", LEAVES, ids=" ".join)
def test_help_of_every_command_is_light(command):
    script = (
        "import sys\nfrom tinylm.cli.main import cli\n"
        f"try:\n cli({[part for part in command if part] + ['--help']!r})\n"
        "except SystemExit as leave:\n assert leave.code == 0\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'numpy', 'sentencepiece', 'safetensors', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Usage: ")


def test_every_command_and_option_says_what_it_is():
    import click

    from tinylm.cli.main import cli

    def leaves(command):
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                yield from leaves(command.get_command(click.Context(command), name))
        yield command

    for command in leaves(cli):
        assert command.help
        assert command.help.splitlines()[0].endswith(".")


def test_version(must):
    from tinylm import __version__

    assert __version__ in must("--version").stdout


def test_data_world_writes_something_to_train_on(must, tmp_path):
    result = must("data", "world", tmp_path / "world", "--conversations", 20, "--documents", 10)
    assert result.stdout == ""
    assert {path.name for path in (tmp_path / "world").iterdir()} == {"world.txt", "chats.jsonl"}
    assert np.char.count((tmp_path / "world" / "chats.jsonl").read_text(), "\n") == 20


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_and_choices(must, shell, tmp_path):
    assert "_TINYLM_COMPLETE" in must("completion", shell).stdout

    def completions(words, at):
        variables = {"_TINYLM_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": at}
        return tinylm(env={**os.environ, **variables}, cwd=tmp_path).stdout

    assert "complete" in completions("tinylm comp", "1" if shell != "fish" else "comp")
    assert "--when-full" in completions("tinylm chat --wh", "2" if shell != "fish" else "--wh")
    assert "error" in completions("tinylm chat --when-full ", "3" if shell != "fish" else "")


def test_bash_takes_the_completion(tmp_path):
    script = f'eval "$({sys.executable} -c "{ENTRY}" completion bash)"; complete -p tinylm'
    result = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert "_tinylm_completion" in result.stdout, result.stderr
