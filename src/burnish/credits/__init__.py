"""What things cost, and the ledger of credits."""
