"""The chat at the terminal.

Files:
    conversation.py  the loop: read, reply, stop
    slash.py         commands that start with a slash
    line_input.py    line editing, history, several lines
    screen.py        what is shown
    word_wrap.py     wrap streamed text at words
    results.py       the figures of a reply
"""
