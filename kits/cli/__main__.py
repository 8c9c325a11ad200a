"""`python -m sundog.kits.cli`: the program `sundog`, for those who know the interpreter and not the PATH."""

from .main import main

main()
