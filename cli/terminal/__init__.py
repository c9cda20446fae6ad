"""The chat at the terminal.

Files:
    chat_loop.py     the loop: read a line, run a command or reply
    conversation.py  show a reply, stop it, save it
    slash.py         commands that start with a slash
    line_input.py    line editing, history, several lines
    screen.py        what is shown
    word_wrap.py     wrap streamed text at words
    results.py       figures and notes about a reply
"""
