"""The rules: pure code without I/O, clock or SQL."""
