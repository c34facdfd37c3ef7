"""The second destination of tabular readings: a spool beside the capture files, and from there to MongoDB."""
