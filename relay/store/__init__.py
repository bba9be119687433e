"""What is durable: tables and migrations, the journal that groups commits, the queue with its leases, and the spool that keeps bodies."""
