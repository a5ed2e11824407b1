"""What runs tasks: the loop that claims and ends, the lane that fetches, the sweep of what time undoes.

Any number of worker processes share a database; each is told of work by notification and looks by itself now and
then. A worker that dies loses nothing: its leases run out, and others claim what it held.
"""
