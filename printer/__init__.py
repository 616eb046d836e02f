"""The card printer: a port, a serial driver for Evolis-style machines and a simulator of one."""
