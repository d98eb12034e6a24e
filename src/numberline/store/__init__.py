"""Storage: all SQL and no decisions, one behaviour on SQLite and PostgreSQL."""
