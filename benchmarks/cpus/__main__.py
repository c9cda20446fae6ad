"""Whether int8 bundles are right and fast on other CPUs: `python -m benchmarks.cpus`, or `make test-cpus`.

Emulated by qemu are the cores of the Raspberry Pis and x86 without VNNI and without AVX; see docs/other-cpus.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.cpus import probe
from benchmarks.cpus.emulation import CPUS, HOST, Cpu, Emulation, check_machine
from benchmarks.cpus.subjects import bundle_subject, decode_graphs, run_subject, train_run
from benchmarks.cpus.verdict import judge, table
from tinylm.errors import TinyLMError
from tinylm.runtime.chat_model import DEMO_BUNDLE

CACHE = Path(__file__).parents[2] / ".cache" / "cpus"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cpus", description=__doc__)
    parser.add_argument("--bundle", type=Path, help="a bundle of your own instead of the demo; trains no model")
    parser.add_argument("--run", type=Path, help="a run of your own instead of training a small model for it")
    parser.add_argument("--data", type=Path, help="text or conversations of your own to measure quality on")
    names = [cpu.name for cpu in CPUS if cpu != HOST]
    parser.add_argument("--cpu", action="append", choices=names, help="only this one; may be given several times")
    parser.add_argument("--positions", type=int, default=4096, help="of text, for each model (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=96, help="to take the time of (default: %(default)s)")
    parser.add_argument("--cache", type=Path, default=CACHE, help="keeps what was fetched (default: .cache/cpus)")
    parser.add_argument("--mirror", help="Debian's mirror (default: of this machine's apt sources)")
    parser.add_argument("--suite", help="Debian's release (default: this machine's, or bookworm)")
    parsed = parser.parse_args(arguments)
    if parsed.positions < 1 or parsed.tokens <= probe.WARM_UP:
        parser.error(f"--positions must be at least 1, --tokens more than {probe.WARM_UP}")
    return parsed


def say(text: str) -> None:
    """Tell the user what goes on."""
    print(text, file=sys.stderr, flush=True)


def make_job(options: argparse.Namespace, work: Path) -> probe.Job:
    """Choose the models, train and export what is needed for them."""
    bundle = options.bundle or DEMO_BUNDLE
    subjects = [bundle_subject("bundle" if options.bundle else "demo", bundle, options.data, work)]
    run = options.run
    if run is None and options.bundle is None:
        say("training a small model, for a minute or two")
        run = train_run(work)
    if run is not None:
        subjects.append(run_subject("run" if options.run else "trained", run, options.data, work))
    return probe.Job(subjects=subjects, positions=options.positions, graphs=decode_graphs(work), tokens=options.tokens)


def run_job(emulation: Emulation, cpu: Cpu, job: probe.Job, work: Path) -> probe.Findings | str:
    """What the job finds on a CPU, or why it finds nothing."""
    if cpu != HOST:
        # fp32 is the same on every CPU to some 1e-7: once is enough
        job = msgspec.structs.replace(job, subjects=[msgspec.structs.replace(s, fp32=None) for s in job.subjects])
    path = work / "job.json"
    path.write_bytes(msgspec.json.encode(job))
    try:
        output = emulation.run(cpu, Path(probe.__file__), str(path))
        return msgspec.json.decode(output, type=probe.Findings)
    except (TinyLMError, msgspec.DecodeError) as error:
        return str(error)


def main() -> int:
    """Do it; 0 where all is as it should be."""
    options = parse_arguments()
    cpus = [cpu for cpu in CPUS if cpu == HOST or options.cpu is None or cpu.name in options.cpu]
    try:
        check_machine(cpus)
        with tempfile.TemporaryDirectory(prefix="tinylm-cpus-") as name:
            work = Path(name)
            emulation = Emulation(work, options.cache.resolve(), options.mirror, options.suite, say)
            if any(cpu.part for cpu in cpus):
                emulation.prepare()
            job = make_job(options, work)
            found = {}
            for cpu in cpus:
                say(f"{cpu.name} ({cpu.remark})")
                found[cpu.name] = run_job(emulation, cpu, job, work)
    except TinyLMError as error:
        say(f"Error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    verdict = judge(job.subjects, found)
    print(table(verdict))
    print(json.dumps(verdict))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
