"""The story of a task: submitted, its bytes arrive, it is claimed, run, ended; or cancelled; and found again.

A task is one row, and that row is its own queue item. `task` holds the states and the one table of moves; every
verb is a file; all SQL is in `store`. A submission is one transaction and so is an ending; what happens between
two transactions may happen twice, so each names the lease it acts under.
"""
