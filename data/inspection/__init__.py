"""The data doctor: what data files hold, before training.

Files:
    inspection.py        reads the files and collects the figures
    token_statistics.py  figures in tokens
    checks.py            what would spoil training
    verdict.py           one line about it
"""
