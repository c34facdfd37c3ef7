"""Uploads that users ask for, by command or by RPC, beside the rounds of sync.

Terms: a *candidate* (`Candidate`) is a file that a user named for upload, or that lies in a folder that a user
named. *Kept data* is data that a user handed over, which waits on disk until the cloud has it.

Beside kept data, which lies in a capture folder, it reads no file outside the upload roots and none of the data
manager's own files. It deletes only what the cloud has acknowledged, and only under a sync path; and the temporary
files of kept data that was never complete. The commands and the module's RPCs use `Candidate`, `Candidates`,
`Labels`, `Uploaded` and `Uploads`.
"""
