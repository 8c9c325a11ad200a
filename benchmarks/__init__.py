"""How fast Sundog is, beside the limit of this machine: `python -m benchmarks --help`."""
