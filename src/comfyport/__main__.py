"""`python -m comfyport` is the command line."""

from comfyport.cli.main import main

main()
