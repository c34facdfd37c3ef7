"""The bytes of capture files: frames, headers, what is written and how it is read again."""
