"""HitPaw's API: tasks over pictures and films by POST alone, polled, paid in coins; and a place to put files first."""
