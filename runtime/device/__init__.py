"""Facts about the machine, and whether it can run a bundle.

Files:
    machine.py other_systems.py  processor, memory and system
    memory.py                    memory that a bundle needs
    bandwidth.py                 bytes a second that memory delivers
    diagnosis.py                 checks of the machine and the installed packages
    kernel_probe.py              speed of the int8 kernels, with the files in kernel_probes/
    subprocess_call.py           run a function in a subprocess
"""
