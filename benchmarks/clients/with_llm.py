"""The command `llm` with a model of its `extra-openai-models.yaml`: a prompt, a conversation that goes on, a schema."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

with TemporaryDirectory() as folder:
    settings = f"- model_id: pip\n  model_name: demo\n  api_base: {sys.argv[1]}/v1\n  api_key_name: none\n"
    settings += "  supports_schema: true\n"
    (Path(folder) / "extra-openai-models.yaml").write_text(settings)
    environment = {**os.environ, "LLM_USER_PATH": folder, "OPENAI_API_KEY": "none"}

    def llm(*arguments: str) -> str:
        """What the command prints."""
        command = [sys.executable, "-m", "llm", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    reply = llm("prompt", "-m", "pip", "-o", "temperature", "0", "Hello! Who are you?")
    assert "Pip" in reply, reply
    assert llm("prompt", "-m", "pip", "--no-stream", "-o", "temperature", "0", "Hello! Who are you?") == reply
    assert llm("prompt", "-m", "pip", "-s", "Be brief.", "-o", "max_tokens", "20", "Who are you?")
    assert llm("prompt", "-c", "And what can you do?")
    schema = {"type": "object", "properties": {"legs": {"type": "integer", "minimum": 0, "maximum": 4}}}
    schema |= {"required": ["legs"], "additionalProperties": False}
    formed = llm("prompt", "-m", "pip", "--schema", json.dumps(schema), "Hello!")
    assert json.loads(formed)["legs"] in range(5), formed
