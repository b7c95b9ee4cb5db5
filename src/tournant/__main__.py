"""`python -m tournant`."""

from tournant.cli import main

main()
