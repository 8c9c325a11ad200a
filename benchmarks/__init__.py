"""How fast is it, beside the limit of this machine? `python -m benchmarks --help`."""
