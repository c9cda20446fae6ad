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
from benchmarks.cpus.comparison import Pair, add_comparison, compare, comparison_table
from benchmarks.cpus.emulation import CPUS, HOST, Cpu, Emulation, check_machine
from benchmarks.cpus.llama_build import VERSION, build_loops
from benchmarks.cpus.subjects import bundle_subject, decode_graphs, model_pairs, run_subject, train_run
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
    parser.add_argument(
        "--llama-cpp",
        nargs="?",
        const=VERSION,
        metavar="VERSION|FOLDER",
        help="measure llama.cpp on Arm cores too: of this version of llama-cpp-python "
        "(default: %(const)s), or of a folder with its sources",
    )
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


def run_pair(emulation: Emulation, cpu: Cpu, pair: Pair, program: Path, work: Path) -> dict[str, float] | str:
    """What both take on a CPU, or why that is not known."""
    say(f"{cpu.name}, beside llama.cpp: {pair.name}")
    try:
        return compare(emulation, cpu, pair, program, work)
    except TinyLMError as error:
        return str(error)


def main() -> int:
    """Do it; 0 where all is as it should be."""
    options = parse_arguments()
    cpus = [cpu for cpu in CPUS if cpu == HOST or options.cpu is None or cpu.name in options.cpu]
    try:
        check_machine(cpus)
        with tempfile.TemporaryDirectory(prefix="tinylm-cpus-") as name:
            work = Path(name)
            cache = options.cache.resolve()
            arm = [cpu for cpu in cpus if cpu.part]
            programs, pairs = {}, []
            if arm and options.llama_cpp:
                programs = build_loops(options.llama_cpp, sorted({cpu.march for cpu in arm}), cache, say)
                pairs = model_pairs(work)
            emulation = Emulation(work, cache, options.mirror, options.suite, say)
            if arm:
                emulation.prepare()
            job = make_job(options, work)
            found, compared = {}, {}
            for cpu in cpus:
                say(f"{cpu.name} ({cpu.remark})")
                found[cpu.name] = run_job(emulation, cpu, job, work)
                if cpu in arm and pairs:
                    program = programs[cpu.march]
                    compared[cpu.name] = {pair.name: run_pair(emulation, cpu, pair, program, work) for pair in pairs}
    except TinyLMError as error:
        say(f"Error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    verdict = judge(job.subjects, found)
    if compared:
        add_comparison(verdict, cpus, compared)
        print(comparison_table(verdict, cpus), end="\n\n")
    print(table(verdict))
    print(json.dumps(verdict))
    return 0 if verdict["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
