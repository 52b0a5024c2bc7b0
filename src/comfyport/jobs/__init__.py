"""One job: request, inputs, run, outputs, result."""
