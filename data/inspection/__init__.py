"""Inspection of data files before training (`tinylm data inspect`).

Files:
    inspection.py        read the files and collect statistics
    token_statistics.py  statistics in tokens
    checks.py            problems of the data, and what to do about them
    verdict.py           one line about it
"""
