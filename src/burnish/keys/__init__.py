"""Accounts and their keys: issue, revoke, authenticate. Plans join them when limits and prices do."""
