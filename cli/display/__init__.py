"""The live display of training.

progress.py   progress bar and figures
sparkline.py  a curve in one line of text
reporters.py  create the training callbacks
"""
