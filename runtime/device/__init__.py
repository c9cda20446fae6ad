"""The machine: what it is, and how fast it runs a bundle.

Files:
    machine.py other_systems.py  processor, memory and system
    memory.py                    memory that a bundle needs
    threads.py                   the fastest number of threads, measured once
    benchmark.py                 speed and memory of a bundle
    kernel_probe.py              speed of the int8 kernel, to estimate other sizes
    diagnosis.py                 what the machine means for chatting
    checkup.py                   whether a bundle runs on it
    subprocess_call.py           run a function in a subprocess
"""
