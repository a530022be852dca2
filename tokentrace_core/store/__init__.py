"""The store: schema, writer and reader of one SQLite file."""
