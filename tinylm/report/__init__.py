"""The report of a run, without torch.

Files:
    report.py            report.html from a run folder
    charts.py            curves as SVG
    quiet_matplotlib.py  matplotlib without messages and files of its own
    replies.py           the figures on replies
    advice.py            what the curves mean, by rules
    report.html          the template
"""
