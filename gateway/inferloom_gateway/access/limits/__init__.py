"""How much may be asked for: counting it in a sliding minute, here, beside other processes, or in Redis."""
