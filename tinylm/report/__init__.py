"""The report of a run, without torch.

Files:
    report.py    report.html from a run folder
    charts.py    curves as SVG
    advice.py    what the curves mean, by rules
    report.html  the template
"""
