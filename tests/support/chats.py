"""Conversations to render, and a template that two tests use."""

ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
    "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
USER, REPLY = (
    {"role": "user", "content": "The quick brown fox"},
    {"role": "assistant", "content": "jumps\n\nover dogs."},
)
SYSTEM = {"role": "system", "content": "Don't jump!"}
PROBES = [[USER], [SYSTEM, USER], [USER, REPLY, USER], [SYSTEM, USER, REPLY, {**USER, "content": "if x:\n\treturn"}]]
