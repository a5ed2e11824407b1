"""Events told to whoever asked: owed in the transaction that makes them true, delivered until they are accepted.

`event.py` and `ladder.py` hold what there is to tell and when it is tried again; `announce.py` owes, `deliver.py` sends,
`replay.py` sends again. Deliveries follow the Standard Webhooks specification (https://www.standardwebhooks.com).
"""
