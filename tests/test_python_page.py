"""docs/python.md: its code runs as a program and in a notebook kernel, and an interrupt of the kernel saves."""

import re
import time

import pytest

PAGE = "docs/python.md"
# Jupyter's packages warn about each other
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture
def blocks(repository):
    """The page's code, block by block."""
    return re.findall(r"^```python\n(.*?)^```", (repository / PAGE).read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    return tmp_path


def test_it_runs_from_data_to_a_reply(blocks, place, capsys):
    names = {}
    for block in blocks:
        exec(compile(block, PAGE, "exec"), names)
    assert names["run"].finished
    assert (place / "bundles" / "first" / "model.onnx").is_file()
    assert names["chat"].last_result.completion_tokens > 0
    printed = capsys.readouterr().out
    assert "conversations, the first is [{'role':" in printed
    assert "fine-tuning: 20 steps" in printed
    assert "bundles/first int8" in printed


def test_it_runs_in_a_notebook(blocks, place):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(block) for block in blocks])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(place)}}).execute()
    outputs = ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]
    errors = [output for cell in notebook.cells for output in cell.outputs if output.get("name") == "stderr"]
    assert "pretrain step" in outputs[1]  # progress below the cell
    assert "bundles/first int8" in outputs[-2]
    assert outputs[-1]
    assert errors == []


def test_the_stop_button_of_a_notebook_saves(place, samples, small_values):
    from jupyter_client.manager import start_new_kernel

    settings = {**small_values, "train.validations": 1}
    cell = (
        "from tinylm.training import TrainingCallback, train\n"
        "class Started(TrainingCallback):\n"
        "    def on_step(self, report):\n"
        "        if report.step == 3:\n"
        "            print('three steps', flush=True)\n"
        f"run = train(finetune={str(samples / 'tagged.txt')!r}, out='run', steps=1_000_000, settings={settings!r}, "
        "callbacks=[Started()])\n"
        "print(run.finished, run.state.step)\n"
    )
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(place))
    try:
        client.execute(cell)
        printed, interrupted = "", False
        deadline = time.monotonic() + 300
        while not re.search(r"(True|False) \d+\n", printed):
            assert time.monotonic() < deadline, printed
            message = client.get_iopub_msg(timeout=120)
            assert message["msg_type"] != "error", message["content"]
            printed += message["content"].get("text", "") if message["msg_type"] == "stream" else ""
            if "three steps" in printed and not interrupted:
                manager.interrupt_kernel()
                interrupted = True
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "Stopping after this step and saving" in printed
    assert re.search(r"False \d+\n", printed)
    assert (place / "run" / "checkpoints" / "last" / "model.safetensors").is_file()
