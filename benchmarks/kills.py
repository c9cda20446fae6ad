"""Training that is killed at random moments and resumed, beside training that is not: `python benchmarks/kills.py`.

Both train on the bundled world. With `--steps` they take the same fixed number of steps. With `--minutes` the steps
and the threads of a run follow the time and the load, which changes all the while; it is compared with an undisturbed
run that repeats its schedules from the first step. A run that finishes before all kills are spent is compared, and
another begun. Prints a table, and one JSON object as the last line.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from commands import TINYLM
from report import rounded
from rich.console import Console
from rich.table import Table

from tinylm.errors import TinyLMError

SETTINGS = {
    "model.vocab_size": 512,
    "model.d_model": 64,
    "model.nhead": 2,
    "model.num_layers": 2,
    "model.dim_feedforward": 128,
    "model.context_length": 96,
    "train.batch_size": 8,
    "train.validations": 4,
}
# By number of steps, so that no thread is added; by time, with the very first checkpoint kept
_BY_STEPS: dict[str, object] = {"train.threads": 1}
_BY_TIME: dict[str, object] = {"train.keep_checkpoints": 1000}
_MOST_BUSY, _LOAD_SECONDS = 3, (0.5, 4.0)
# What differs between two runs of the same steps: times, and samples, which are taken as time allows
_TIMES = ("seconds", "tokens_per_second")


@dataclass
class Outcome:
    """What became of it.

    Attributes:
        runs, bit_equal, logs_equal: finished runs, and those whose weights or logs are those of the undisturbed run.
        changes: of schedules, in all runs.
        kills: signals sent, by where the run was.
        problems: what went otherwise than it should, for people.
    """

    runs: int = 0
    bit_equal: int = 0
    logs_equal: int = 0
    changes: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Runner:
    """Starts one training in different folders.

    Args:
        folder: for the world and the runs.
        steps: of a run, both stages together; 0: by time.
        minutes: of a run.
    """

    def __init__(self, folder: Path, steps: int, minutes: float) -> None:
        self.folder, self.by_time = folder, not steps
        world = folder / "world"
        subprocess.run([TINYLM, "data", "world", str(world)], check=True, capture_output=True)
        texts, chats = world / "world.txt", world / "chats.jsonl"
        budget = ["--minutes", str(minutes)] if self.by_time else ["--steps", str(steps)]
        self.command = [TINYLM, "train", "--pretrain", str(texts), "--finetune", str(chats), *budget]
        settings = {**SETTINGS, **(_BY_TIME if self.by_time else _BY_STEPS)}
        self.command += [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]

    def start(self, run: Path) -> subprocess.Popen[str]:
        """Begin a run, or go on with it where it has a checkpoint."""
        resumable = (run / "checkpoints").is_dir() and any((run / "checkpoints").iterdir())
        command = [TINYLM, "train", "--resume", str(run)] if resumable else [*self.command, "--out", str(run)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def undisturbed(self, run: Path) -> Path:
        """The folder of a run that nothing disturbed; by time, of one that repeats the schedules of `run`.

        Raises:
            TinyLMError: it could not be trained.
        """
        if not self.by_time:
            return self.folder / "whole"
        again = self.folder / f"{run.name}-again"
        shutil.copytree(run, again)
        checkpoints = again / "checkpoints"
        followed = json.loads((checkpoints / "last" / "state.json").read_text("utf-8"))
        for name in ("last", "best"):
            shutil.rmtree(checkpoints / name)
        shutil.copytree(checkpoints / "pretrain-000000", checkpoints / "last")
        state = checkpoints / "last" / "state.json"
        begun = json.loads(state.read_text("utf-8"))
        begun.update(schedules=followed["schedules"], seconds_left={}, follows_load=False)
        state.write_text(json.dumps(begun), "utf-8")
        process = self.start(again)
        _, chatter = process.communicate()
        if process.returncode:
            raise TinyLMError(f"tinylm train: {chatter.strip()[-500:]}")
        return again


class Load:
    """Other programs on the machine, now more and now fewer.

    Args:
        rng: decides how many and for how long.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._until = rng, 0.0
        self._busy: list[subprocess.Popen[bytes]] = []

    def change(self) -> None:
        """Start or end programs where it is time to."""
        if time.monotonic() < self._until:
            return
        self._until = time.monotonic() + self._rng.uniform(*_LOAD_SECONDS)
        self.end()
        for _ in range(self._rng.randint(0, _MOST_BUSY)):
            self._busy.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))

    def end(self) -> None:
        """End all of them."""
        for process in self._busy:
            process.kill()
            process.wait()
        self._busy.clear()


def wait(process: subprocess.Popen[str], seconds: float, load: Load | None) -> bool:
    """Wait for a process while the load changes; whether it has ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if load is not None:
            load.change()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=min(0.2, max(0.0, until - time.monotonic())))
            return True
    return False


def fingerprint(run: Path) -> dict[str, str]:
    """SHA-256 of the weights of both checkpoints."""
    return {
        name: hashlib.sha256((run / "checkpoints" / name / "model.safetensors").read_bytes()).hexdigest()
        for name in ("last", "best")
    }


def log_of(run: Path) -> list[dict[str, object]]:
    """The steps and validations of a run's log, without times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    kept = [line for line in lines if "event" not in line and "sample" not in line]
    return [{key: value for key, value in line.items() if key not in _TIMES} for line in kept]


def where(run: Path) -> str:
    """Where a run is, by its last checkpoint."""
    try:
        state = json.loads((run / "checkpoints" / "last" / "state.json").read_text("utf-8"))
    except OSError:
        return "before the first step" if run.exists() else "before there is a run"
    return "finished" if state["finished"] else str(state["stage"])


def torment(
    runner: Runner, kills: int, number: signal.Signals, seconds: float, rng: random.Random, load: Load | None
) -> Outcome:
    """Kill and resume until all kills are spent and the run is finished.

    Args:
        runner: starts the runs.
        kills: signals to send.
        number: which.
        seconds: that an undisturbed run takes; a kill comes after a part of it.
        rng: decides when.
        load: that changes meanwhile.

    Raises:
        TinyLMError: a process failed by itself.
    """
    outcome, sent = Outcome(), 0
    while sent < kills or not outcome.runs:
        run = runner.folder / f"run-{outcome.runs}"
        while True:
            process = runner.start(run)
            ended = wait(process, rng.uniform(0.02, 0.7) * seconds if sent < kills else float("inf"), load)
            if not ended:
                place = where(run)
                process.send_signal(number)
                sent += 1
                outcome.kills[place] = outcome.kills.get(place, 0) + 1
            _, chatter = process.communicate()
            if process.returncode == 0 or where(run) == "finished":
                break
            if process.returncode not in (1, -number) or "Traceback" in chatter or "Error" in chatter:
                raise TinyLMError(f"tinylm train ended with {process.returncode}: {chatter.strip()[-500:]}")
        if load is not None:
            load.end()
        outcome.runs += 1
        compare(run, runner.undisturbed(run), outcome)
        if not outcome.problems:
            shutil.rmtree(run)
    return outcome


def compare(run: Path, whole: Path, outcome: Outcome) -> None:
    """Note whether a run ended as an undisturbed one."""
    outcome.changes += schedule_changes(run)
    if fingerprint(run) == fingerprint(whole):
        outcome.bit_equal += 1
    else:
        outcome.problems.append(f"{run.name}: other weights")
    if log_of(run) == log_of(whole):
        outcome.logs_equal += 1
    else:
        differing = [line for line in log_of(run) if line not in log_of(whole)]
        outcome.problems.append(f"{run.name}: another log, as in {differing[:3] or 'the number of lines'}")


def schedule_changes(run: Path) -> int:
    """How often the schedule of a run was replaced."""
    state = json.loads((run / "checkpoints" / "last" / "state.json").read_text("utf-8"))
    return sum(len(schedules) - 1 for schedules in state["schedules"].values())


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="signals to send (default: 30)")
    parser.add_argument("--signal", choices=["KILL", "INT", "TERM"], default="KILL", help="which (default: KILL)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--steps", type=int, default=400, help="of a run (default: 400)")
    budget.add_argument("--minutes", type=float, help="of a run, under a load that changes")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Torment and print.

    Returns:
        0 where every run ended as the undisturbed one, else 1.
    """
    chosen = parse_arguments(arguments)
    number, rng = signal.Signals[f"SIG{chosen.signal}"], random.Random(chosen.seed)
    with TemporaryDirectory() as folder:
        load = Load(rng) if chosen.minutes else None
        try:
            runner = Runner(Path(folder), 0 if chosen.minutes else chosen.steps, chosen.minutes or 0.0)
            started = time.monotonic()
            undisturbed = runner.start(Path(folder) / "whole")
            _, chatter = undisturbed.communicate()
            if undisturbed.returncode:
                raise TinyLMError(f"tinylm train: {chatter.strip()[-500:]}")
            outcome = torment(runner, chosen.kills, number, time.monotonic() - started, rng, load)
        except TinyLMError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        finally:
            if load is not None:
                load.end()
    table = Table(title=f"{chosen.kills} times SIG{chosen.signal}", title_justify="left", title_style="bold")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    figures = {"kills": chosen.kills, "runs": outcome.runs, "bit_equal": outcome.bit_equal}
    figures |= {"logs_equal": outcome.logs_equal, "schedule_changes": outcome.changes}
    for name, value in {**figures, **{f"killed {place}": count for place, count in outcome.kills.items()}}.items():
        table.add_row(name, str(value))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for problem in outcome.problems:
        print(problem, file=sys.stderr)
    print(json.dumps({"ratios": {}, "figures": rounded({name: float(value) for name, value in figures.items()})}))
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
