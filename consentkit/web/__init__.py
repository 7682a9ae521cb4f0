"""Flask: who is asking, gates, banner, pages, the ledger API. Rules live in the core."""
