"""The live display of training.

Files:
    progress.py   progress bar and figures
    sparkline.py  a curve in one line of text
"""
