"""What admins write: who is who, who may send what to whom, and what happens to it. Read whole, checked whole, applied whole (promise
10).
"""
