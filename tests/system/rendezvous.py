"""What the ranks of a gang do in tests: they meet, as ranks of a training do."""

from __future__ import annotations

#: Every rank tells the first its number over TCP; the first answers each with the sum of them all.
RENDEZVOUS = """
import os, socket, threading, time
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
if rank == 0:
    with socket.create_server(address, backlog=size) as server:
        peers = [server.accept()[0] for _ in range(size - 1)]
    total = sum(int(peer.recv(10)) for peer in peers)
    for peer in peers:
        peer.sendall(b"%d" % total)
else:
    give_up = time.monotonic() + 60
    while True:
        try:
            peer = socket.create_connection(address, timeout=60)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < give_up
            threading.Event().wait(0.05)
    peer.sendall(b"%d" % rank)
    total = int(peer.recv(10))
print(f"rank {rank} of {size}: {total}")
"""
