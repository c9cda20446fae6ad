"""Whether real clients understand `tinylm serve`: `python -m benchmarks.clients`; see benchmarks/README.md.

Installs each client from PyPI or npm into a folder of its own, serves the demo model, and lets a script use the client.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.clients.catalogue import CLIENTS, LARGE, Client
from benchmarks.clients.scores import check, compare, compare_back_ends, write_documents, write_questions
from tinylm.run_folder import RunFolder
from tinylm.runtime.demo import DEMO_BUNDLE

HERE = Path(__file__).parent
_QUESTIONS = 200
_DOCUMENTS = 60
_LIMIT_S = 900
_TINYLM = [sys.executable, "-m", "tinylm"]


def say(text: str) -> None:
    """Tell the user what goes on."""
    print(text, file=sys.stderr, flush=True)


def call(command: Sequence[str | Path], folder: Path | None = None) -> str:
    """Run a command; what it prints.

    Raises:
        RuntimeError: it fails; the last of what it said.
    """
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True, timeout=_LIMIT_S, check=False
    )
    if done.returncode:
        raise RuntimeError("\n".join((done.stdout + done.stderr).strip().splitlines()[-3:]))
    return done.stdout


class Environments:
    """Where clients are installed.

    Args:
        folder: of all of them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def programs(self, name: str) -> Path:
        """The folder with the programs of a Python environment."""
        return self._folder / name / ("Scripts" if os.name == "nt" else "bin")

    def install(self, client: Client) -> None:
        """Install a client's packages."""
        if client.kind == "node":
            node = self._folder / "node"
            node.mkdir(exist_ok=True)
            if not (node / "package.json").exists():
                (node / "package.json").write_text('{"private": true}')
            call(["npm", "install", "--no-audit", "--no-fund", "--silent", *client.packages], node)
            return
        name = self._name(client)
        if not self.programs(name).exists():
            venv.create(self._folder / name, with_pip=True)
            if client.kind == "beside":
                share_packages(self._folder / name)
        call([self.programs(name) / "python", "-m", "pip", "install", "--quiet", *client.packages])

    def command(self, client: Client, url: str) -> tuple[list[str | Path], Path]:
        """What runs a client's script, and in which folder."""
        script = HERE / client.script
        if client.kind == "node":
            # Node looks for packages from where the script lies
            shutil.copy(script, self._folder / "node")
            return ["node", client.script, url], self._folder / "node"
        if client.kind == "own":
            return [sys.executable, script, url, self.programs(self._name(client))], self._folder
        return [self.programs(client.kind) / "python", script, url], self._folder

    def _name(self, client: Client) -> str:
        return client.packages[0] if client.kind == "own" else client.kind


def share_packages(environment: Path) -> None:
    """Let an environment find the packages that lie where torch does, behind its own.

    Args:
        environment: its folder, made by `venv`.
    """
    packages = sysconfig.get_path("purelib", "venv", {"base": str(environment)})
    (Path(packages) / "project.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")


@contextmanager
def served(bundle: Path) -> Iterator[str]:
    """Serve a bundle; the address."""
    command = [*_TINYLM, "serve", str(bundle), "--port", "0", "--name", "demo"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://\S+?(?=,)", process.stderr.readline())
        assert found, "the server did not start"
        try:
            yield found[0]
        finally:
            process.terminate()
            process.communicate()


def score(environments: Environments, client: Client, run: Path, work: Path) -> dict[str, float]:
    """Let `lm-evaluation-harness` score a run in fp32 through the server, and compare with torch and its own back end.

    Its own back end scores the run's Hugging Face folder, which there is of llama models alone.
    """
    out, bundle, huggingface = work / "scores.json", work / "fp32", work / "huggingface"
    write_questions(work / "questions.jsonl", _QUESTIONS)
    write_documents(work / "documents.jsonl", _DOCUMENTS, run)
    exports: list[str | Path] = ["--out", bundle]
    is_llama = RunFolder(run).load_config().model.arch == "llama"
    if is_llama:
        exports += ["--huggingface", huggingface]
    call([*_TINYLM, "export", run, *exports])
    with served(bundle) as url:
        command, folder = environments.command(client, url)
        call([*command, work, out, *[huggingface] * is_llama], folder)
    scored = json.loads(out.read_text())
    figures = compare(run, scored["server"], work / "questions.jsonl")
    if is_llama:
        figures |= compare_back_ends(scored["server"], scored["hf"])
    return figures


def train(work: Path) -> Path:
    """A llama run of the bundled world, small and soon done."""
    world, run = work / "world", work / "run"
    call([*_TINYLM, "data", "world", world])
    data = ["--pretrain", world / "world.txt", "--finetune", world / "chats.jsonl"]
    model = ["--set", "model.arch=llama", "--set", "model.context_length=256"]
    call([*_TINYLM, "train", *data, "--out", run, "--minutes", "3", *model])
    return run


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    small = [name for name in CLIENTS if name not in LARGE]
    parser.add_argument("--only", nargs="+", choices=CLIENTS, default=small, metavar="NAME", help=", ".join(CLIENTS))
    parser.add_argument("--folder", type=Path, help="keeps what is installed (default: a temporary one)")
    parser.add_argument("--run", type=Path, help="a run to score, instead of training a small one for it")
    return parser.parse_args()


def main() -> int:
    """Try them; 0 where all of them work."""
    chosen = parse_arguments()
    results: dict[str, str] = {}
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, served(DEMO_BUNDLE) as url:
        work = Path(name)
        folder = (chosen.folder or work / "environments").absolute()
        folder.mkdir(parents=True, exist_ok=True)
        environments = Environments(folder)
        for client_name in chosen.only:
            client = CLIENTS[client_name]
            say(client_name)
            try:
                environments.install(client)
                if client.script == "with_lm_eval.py":
                    figures.update(score(environments, client, chosen.run or train(work), work))
                    check(figures)
                else:
                    call(*environments.command(client, url))
                results[client_name] = "works"
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                results[client_name] = str(error)
    table = Table("client", "result")
    for client_name, result in results.items():
        table.add_row(client_name, result)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    failed = sum(result != "works" for result in results.values())
    print(json.dumps({"figures": {"works": len(results) - failed, "failed": failed, **figures}}))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
