"""The composition root: joins the road to sockets, disk, clock, DNS and database."""
