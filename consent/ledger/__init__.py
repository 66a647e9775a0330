"""The consent ledger: records, their commitments, and (later) the Merkle log over them."""
