"""A simulator of a training cluster: true logs of jobs that run, fail and recover, and what really happened to them.

It knows nothing of what relight knows about failures: what lines say comes from the documents and sources that each
scenario names.
"""
