"""The `tinylm` command. A file a command: each parses options, calls the library and shows the result.

main.py        the command group, and how errors are shown
data.py import_.py train.py report.py eval.py export.py info.py chat.py complete.py serve.py bench.py doctor.py
completion.py
               the commands, in the order of the pipeline
options.py     options that several commands share
reply_figures.py suite_figures.py
               the quality of replies, printed
console.py     stderr for people, stdout for programs
streams.py     standard streams that survive a full disk
piped_prompt.py
               the prompt from a pipe or a file
inspection.py  the report of `tinylm data inspect`
display/       the live display of training
terminal/      the chat at the terminal
"""
