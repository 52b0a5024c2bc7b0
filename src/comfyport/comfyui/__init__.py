"""The program that we run: its process, its API, its workflows."""
