"""`python -m tournant.cli`."""

from tournant.cli import main

main()
