"""Services on the card: each is taken in when it is mature, and not before (成熟一个，纳入一个)."""
