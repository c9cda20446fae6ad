"""Other runtimes to measure against; each module needs a package that `benchmarks/README.md` names."""
