"""Where things lie: PostgreSQL (`postgres`, `migrate`), the embedded one (`embedded`, its `keeper`, `cluster`),
the data directory and its locks (`directory`), media (`blobs`).

The only code, with each domain's `store.py`, that speaks SQL or touches the disk.
"""
