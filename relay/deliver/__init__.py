"""Claims from the record to the next hop. Promise: marked before the final dot, required TLS or nothing, and every recipient gets an
end.
"""
