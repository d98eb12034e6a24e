"""The doors: the ways in from outside (HTTP, command line)."""
