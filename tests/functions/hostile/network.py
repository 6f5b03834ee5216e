"""Attempts by network and other ways to talk: sockets that reach the machine, the host, other environments."""

import http.client
import os
import socket

from attempt import Refused, anything, attempt, call, each
from victim import KEY

# The port of the relay into which a network of its own leads.
WAY_OUT = 9


def opens(family, kind, protocol=0):
    socket.socket(family, kind, protocol).close()
    return "opened"


@attempt
def raw_sockets(event):
    """sockets below TCP and UDP"""
    kinds = {
        "ip": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        "icmp": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "tcp": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
        "ip6": (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
        "packet": (socket.AF_PACKET, socket.SOCK_RAW, 0x0300),
        "packet datagram": (socket.AF_PACKET, socket.SOCK_DGRAM, 0x0300),
    }
    return each(kinds, lambda name: opens(*kinds[name]))


@attempt
def rare_sockets(event):
    """families of sockets that reach the hypervisor or much of the kernel"""
    kinds = {
        "vsock": (40, socket.SOCK_STREAM, 0),
        "crypto": (38, socket.SOCK_SEQPACKET, 0),
        "bluetooth": (31, socket.SOCK_RAW, 1),
        "can": (29, socket.SOCK_RAW, 1),
        "tipc": (30, socket.SOCK_STREAM, 0),
        "rds": (21, socket.SOCK_SEQPACKET, 0),
        "key": (15, socket.SOCK_RAW, 2),
        "x25": (9, socket.SOCK_SEQPACKET, 0),
        "kcm": (41, socket.SOCK_DGRAM, 0),
        "qipcrtr": (42, socket.SOCK_DGRAM, 0),
        "smc": (43, socket.SOCK_STREAM, 0),
        "xdp": (44, socket.SOCK_RAW, 0),
    }
    return each(kinds, lambda name: opens(*kinds[name]))


@attempt
def change_the_network(event):
    """an address of one's own on an interface of the host's (of one that is not there)"""
    import struct

    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as route:
        # RTM_DELADDR with request and acknowledgement, for interface 99999.
        route.send(struct.pack("=IHHII", 24, 21, 5, 1, 0) + struct.pack("=BBBBI", 2, 8, 0, 0, 99999))
        answer = route.recv(4096)
    number = -struct.unpack_from("=i", answer, 16)[0]
    # "No such device" comes after permission was given.
    if number in (1, 13):
        raise OSError(number, "refused")
    return os.strerror(number)


@attempt
def low_port(event):
    """a port below 1024"""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 79))
    return "bound"


def connects(address, family=socket.AF_INET):
    with socket.socket(family) as client:
        client.settimeout(3)
        client.connect(address)
    return "connected"


@attempt
def loopback_of_the_host(event):
    """a program of the host's that listens on loopback"""
    return connects(("127.0.0.1", event["host_port"]))


@attempt
def port_of_another_environment(event):
    """a port on which another environment listens"""
    return connects(("127.0.0.1", event["victim"]["port"]))


@attempt
def the_way_out(event):
    """programs of the host's by the way out of an own network: all the names that the host has for itself"""
    port = event["host_port"]

    def through(address):
        host, at = address
        with socket.create_connection((host, at), 3) as client:
            # What is relayed to nobody is closed without a word; the listener outside would wait for ours.
            client.settimeout(0.3)
            try:
                return anything(client.recv(1))
            except TimeoutError:
                return "stays open"

    ways = [
        ("127.0.0.2", port),
        ("127.1.2.3", port),
        ("0.0.0.0", port),
        ("::1", port),
        ("::ffff:127.0.0.1", port),
    ]
    if os.environ["AWS_LAMBDA_RUNTIME_API"].endswith(":9001"):
        # Where the network is the host's, these would be asked in earnest.
        ways += [
            ("127.0.0.1", WAY_OUT),
            ("169.254.169.254", 80),
            ("169.254.170.2", 80),
            ("169.254.100.1", port),
        ]
    return each(ways, through)


@attempt
def runtime_api_of_another(event):
    """another environment's Runtime API: to take its events and to answer for it"""
    address = event["victim"]["api"]
    if address == os.environ["AWS_LAMBDA_RUNTIME_API"]:
        raise Refused("at that address is the own one")
    api = http.client.HTTPConnection(address, timeout=3)
    api.request("GET", "/2018-06-01/ping")
    return api.getresponse().read()


@attempt
def ports_in_reach(event):
    """everything that listens on loopback, besides what belongs to the environment"""
    # The last is where a network of its own takes what is sent to the outside; see `the_way_out`.
    own = {int(os.environ["AWS_LAMBDA_RUNTIME_API"].rsplit(":", 1)[1]), event["service_port"], WAY_OUT}
    with open("/proc/net/tcp") as file:
        lines = [line.split() for line in list(file)[1:]]
    listening = {int(fields[1].split(":")[1], 16) for fields in lines if fields[3] == "0A"}
    return each(sorted(listening - own), lambda port: connects(("127.0.0.1", port)))


@attempt
def abstract_sockets(event):
    """sockets that have names without files: one of the host's, and one of another environment's"""
    return each(
        [event["host_abstract"], event["victim_abstract"]], lambda name: connects("\0" + name, socket.AF_UNIX)
    )


@attempt
def sockets_in_files(event):
    """a socket in a directory of the host"""
    return connects(event["host_socket"], socket.AF_UNIX)


@attempt
def shared_memory(event):
    """System V shared memory of another environment"""
    return call("shmget", KEY, 4096, 0)


@attempt
def message_queues(event):
    """a message queue of another environment"""
    return call("mq_open", "secret", os.O_RDONLY, 0, None)


@attempt
def interfaces(event):
    """network interfaces besides loopback"""
    return anything([name for _, name in socket.if_nameindex() if name != "lo"])
