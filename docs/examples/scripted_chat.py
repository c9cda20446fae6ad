"""A short scripted chat, and the Python interface in a few lines: `python scripted_chat.py [BUNDLE]`."""

import sys

from tinylm.runtime import ChatModel

SCRIPT = (
    "Hello! Who are you?",
    "My name is Quillon and my dog is called Zambo.",
    "Where do you live?",
    "what should i wear when it rains",
    "Do you remember my name?",
    "whats my dogs name?",
    "What is the capital of Peru?",
    "Thank you, good night!",
)


def main() -> None:
    """Say each line of the script and show the reply as it comes."""
    model = ChatModel(sys.argv[1] if len(sys.argv) > 1 else None)
    chat = model.start_chat(options=model.default_options(temperature=0))
    for line in SCRIPT:
        print(f"\nyou   {line}\ntiny  ", end="")
        for text in chat.send(line):
            print(text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
