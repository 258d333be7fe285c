"""The worker: a process that runs Python for the BEAM. The protocol is docs/protocol.md."""
