"""What a shipper reads: files that grow, the journal and the kernel's log, cut into chunks with their headers."""
