"""The ledger's tables and statements. SQLAlchemy Core for the schema, fixed SQL on the hot paths."""
