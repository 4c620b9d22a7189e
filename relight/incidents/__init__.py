"""Incidents as people and programs ask a store for them: lists, one in full, changes, reports and figures.

All of it goes through the port `relight.stores.port`, so every store gives the same answers.
"""
