"""`python -m sundog.kits.job`: a job process (see process.py)."""

from .process import run

run()
