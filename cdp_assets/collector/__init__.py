"""The collector: an HTTP server that speaks the protocol of Segment's SDKs and lands what comes."""
