"""The desk in a process of its own: what crosses between it and the doors, both ends of the way, and its life."""
