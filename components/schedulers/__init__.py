"""Schedulers: the order in which waiting jobs are tried."""
