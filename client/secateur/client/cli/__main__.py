"""`python -m secateur.client.cli`, for environments whose scripts are not on the PATH."""

from secateur.client.cli import main

main()
