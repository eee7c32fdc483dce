"""The place Distill: distillations, and the ledger of calls to teachers."""
