"""How people reach the one process that writes: operations over a unix socket whose peer, named by the kernel, is the actor."""
