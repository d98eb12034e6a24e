"""Use cases: one verb per file. They decide nothing the domain can decide and never commit."""
