"""Run `tinylm` or a script, and let the process live on: `python lingering.py SECONDS tinylm|FILE.py ARGUMENT…`."""

import runpy
import sys
import time

start = time.monotonic()
seconds, program, *arguments = sys.argv[1:]
status = 0
sys.argv[:] = [program, *arguments]
try:
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
except SystemExit as ending:
    status = ending.code
# What its threads do meanwhile is what is looked for
time.sleep(max(0.0, float(seconds) - (time.monotonic() - start)))
sys.exit(status)
