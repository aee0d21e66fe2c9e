"""Asynchronous jobs: many rows for one model, taken now and answered later.

intake -> ledger (a database on disk) <- runner -> the engine, at low priority
"""
