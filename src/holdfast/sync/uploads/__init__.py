"""What users ask to be uploaded, by command or RPC."""
