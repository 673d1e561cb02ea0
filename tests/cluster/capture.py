"""
Looks for texts in everything that passes a node's network, between pods and from outside: `capture.py < texts`.

The first line of its input is a JSON array of texts. It says that it has begun, and when its input ends, for each text
how many packets held it, and how many packets went by unseen. A node's loopback is left out: what stays there is no hop.
"""

import json
import socket
import struct
import sys
from select import select

ALL_PROTOCOLS = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 64 << 20


def main() -> None:
    texts = [text.encode() for text in json.loads(sys.stdin.readline())]
    found = [0] * len(texts)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(ALL_PROTOCOLS)) as wire:
        wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        print("capturing", flush=True)
        while sys.stdin not in select([wire, sys.stdin], [], [])[0]:
            packet, (interface, *_) = wire.recvfrom(1 << 17)
            if interface == "lo":
                continue
            for index, text in enumerate(texts):
                if text in packet:
                    found[index] += 1
        unseen = struct.unpack("II", wire.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
    print(json.dumps({"found": found, "unseen": unseen}))


main()
