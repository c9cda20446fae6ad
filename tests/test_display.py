"""The display of training: on terminals of any width, without colour, and where there is no terminal."""

import io
import re
from contextlib import closing
from types import SimpleNamespace

import pytest
from rich.console import Console

from tinylm.cli.display.progress import TrainingDisplay, progress_display
from tinylm.cli.display.sparkline import Sparkline
from tinylm.evaluation import Score
from tinylm.training.callbacks import StepReport, TrainingSample

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
LONG = "Pip lives on a small computer and tells of the garden, " * 8


def report(step, steps=100, stage="pretrain", utilization=None):
    return StepReport(stage, step, steps, 5.0 - step / 50, 1e-3, 5012.0, utilization)


def feed(display, clock=None):
    """A pre-training of 100 steps, half done, with a validation and a sample."""
    display.on_plan({"pretrain": 100, "finetune": 50})
    display.on_stage_start("pretrain", 0, 100)
    for step in range(1, 51):
        if clock is not None:
            clock[0] += 1.0
        display.on_step(report(step, utilization=0.44))
        if step % 25 == 0:
            display.on_validation("pretrain", step, Score(300.0 - step, 100, 250), step == 25)
    display.on_samples("pretrain", 50, [TrainingSample("", f"\x1b[2J{LONG}\nnew")])


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tinylm.training.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def block_of(display, console):
    # Another console of the kind: on its own, a live display is drawn around whatever is printed
    paper = Console(file=io.StringIO(), width=console.width, force_terminal=True, color_system=None)
    paper.print(display._block())
    return paper.file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_block_fits_and_keeps_its_height(width, clock):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    display = TrainingDisplay(console)
    empty = block_of(display, console)
    feed(display, clock)
    lines = block_of(display, console)
    display.close()
    assert len(lines) == len(empty) == 6
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "\x1b[2J" not in text
    for part in ("pre-training", "50/100 steps", "█", "▁", "5,012 tokens/s", "44% MFU", "1:40 left in all"):
        assert part in text
    assert re.search(r"1\.44\d\d, best 1\.\d{4}|\d\.\d{4} bits/byte", text)
    assert lines[-1].rstrip().endswith("…")


def test_the_time_left_is_of_the_stages_to_come_too(clock):
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    display = TrainingDisplay(console)
    display.on_plan({"pretrain": 100, "finetune": 50})
    display.on_stage_start("finetune", 10, 50)
    assert "left" not in "\n".join(block_of(display, console))
    for step in range(11, 31):
        clock[0] += 2.0
        display.on_step(report(step, 50, "finetune"))
    assert "0:40 left" in "\n".join(block_of(display, console))
    assert "in all" not in "\n".join(block_of(display, console))
    display.close()


def test_it_goes_back_with_the_training(clock):
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    display = TrainingDisplay(console)
    feed(display, clock)
    ahead = block_of(display, console)[1].rindex("▁")
    display.on_rollback("pretrain", 25)
    display.on_step(report(26))
    lines = block_of(display, console)
    display.close()
    assert "26/100 steps" in lines[0]
    assert max(lines[1].rfind(bar) for bar in "▁▂▃▄▅▆▇█") < ahead * 0.75


def test_a_stage_leaves_one_line_and_the_terminal_as_it_was():
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True, color_system=None)
    with closing(TrainingDisplay(console)) as display:
        feed(display)
        display.on_stage_start("finetune", 0, 50)
        display.on_step(report(1, 50, "finetune"))
    text = written.getvalue()
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    plain = ESCAPES.sub("", text)
    assert "pre-training: 50 of 100 steps in 0:00, loss 4." in plain
    assert "fine-tuning: 1 of 50 steps" in plain


@pytest.mark.parametrize("how", ["no terminal", "dumb"])
def test_plain_lines_where_nothing_can_be_drawn(how, clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    written = io.StringIO()
    with closing(progress_display(Console(file=written, force_terminal=how == "dumb", width=60))) as display:
        feed(display, clock)
        clock[0] += 61
        display.on_step(report(51))
    lines = written.getvalue().splitlines()
    assert "\x1b" not in written.getvalue()
    assert lines[0] == "pre-training: 100 steps"
    assert [bool(re.search(r"step +25 .*validation +2\.750 +bits/byte \d\.\d{4} +best", line)) for line in lines] == [
        index == 1 for index in range(len(lines))
    ]
    assert lines[3].startswith(" pretrain sample [2J")
    assert lines[3].endswith("of the garden, new")
    # A line now and then where validations are far apart
    assert re.match(r" pretrain step +51  loss +\d\.\d{3} +5,012 tokens/s +\d:\d\d left", lines[4])
    assert len(lines) == 5


def test_a_terminal_that_knows_ascii_alone():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    display = TrainingDisplay(console)
    feed(display)
    loss = next(line for line in block_of(display, console) if line.startswith("loss"))
    display.close()
    assert "#" in loss
    assert loss.isascii()


def test_a_course_grows_with_the_progress():
    course = Sparkline()
    assert course.line(10) == ""
    for part in range(50):
        course.add(part / 100, 50 - part)
    assert len(course.line(10)) == 5
    assert (course.line(10)[0], course.line(10)[-1]) == ("█", "▁")
    assert list(course.line(40)) == sorted(course.line(40), reverse=True)
    for value in range(10_000):
        course.add(value / 10_000, value)
    assert len(course.line(30)) == 30
    assert course.line(30)[0] == "▁"
    assert course.line(30)[-1] == "█"
