"""`python -m tinylm` is `tinylm`."""

from tinylm.cli.main import main

main()
