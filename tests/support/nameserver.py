"""A name server that has one answer for every name: says "ready", then each name it was asked for.

usage: python -m tests.support.nameserver ADDRESS ANSWER
"""

import ipaddress
import socket
import struct
import sys

A = 1


def main() -> None:
    own, answer = sys.argv[1:]
    family = socket.AF_INET6 if ":" in own else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((own, 53))
        print("ready", flush=True)
        while True:
            query, source = sock.recvfrom(4096)
            labels, at = [], 12
            while size := query[at]:
                labels.append(query[at + 1 : at + 1 + size].decode())
                at += 1 + size
            (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
            found = kind == A
            head = query[:2] + struct.pack(">HHHHH", 0x8580, 1, found, 0, 0) + query[12 : at + 5]
            record = b"\xc0\x0c" + struct.pack(">HHIH", A, 1, 0, 4) + ipaddress.IPv4Address(answer).packed
            sock.sendto(head + (record if found else b""), source)
            if found:
                print(".".join(labels), flush=True)


if __name__ == "__main__":
    main()
