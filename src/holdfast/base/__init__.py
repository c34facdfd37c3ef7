"""The ground that every other package stands on: files, time, tasks and threads, words for people.

Terms: a *seam* is the one class through which the program reaches something outside of it, so that tests can put
another in its place (`FileSystem`, `Clock`). To *block* is to hold up the calling thread; what blocks is never
called on the event loop.

It knows no other part of Holdfast but `errors`. Any package may import any of its modules.
"""
