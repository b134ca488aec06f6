"""Model files -> Relax modules."""
